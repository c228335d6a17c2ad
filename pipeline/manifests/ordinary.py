"""Ordinary footage: recordings of which nothing is known but that nothing abnormal happens in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.manifests.manifest import MANIFEST, ManifestError, Video, read_manifest
from pipeline.sources.film_files import PassedOver, films_below


def ordinary_footage(places: Sequence[Path]) -> list[Video]:
    """Read videos, all of them as normal ones.

    Args:
        places: videos, manifests (``.jsonl``), folders with a manifest.jsonl, and folders of videos, below which every
            video is taken. A labelled abnormal video of a manifest is left out.

    Raises:
        ManifestError: a place is missing or holds no video, or a video is named twice.
    """
    found: dict[Path, Video] = {}
    for place in places:
        videos = _videos(place)
        if not videos:
            raise ManifestError(f"{place}: holds no normal video; expected videos, a manifest, or a folder of either")
        for video in videos:
            if video.path in found:
                raise ManifestError(f"{place}: {video.path} is named by an earlier place, too; name it once")
            found[video.path] = replace(video, label=0, split=None)
    return list(found.values())


def _videos(place: Path) -> list[Video]:
    manifest = place / MANIFEST if place.is_dir() else place
    if manifest.suffix == ".jsonl" and manifest.exists():
        return [video for video in read_manifest(manifest) if video.label == 0]
    if not place.exists():
        raise ManifestError(f"{place}: no such video, manifest or folder of ordinary footage")
    if place.is_file():
        return [Video(place.resolve(), 0)]
    try:
        return [Video(path.resolve(), 0) for path in films_below(place, PassedOver())]
    except OSError as error:
        raise ManifestError(f"{place}: cannot be listed: {error.strerror}") from None
