"""Ordinary footage: recordings without labels that are taken to show nothing abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.manifests.manifest import MANIFEST, ManifestError, Video, read_manifest
from pipeline.sources.film_files import PassedOver, films_below


def ordinary_footage(places: Sequence[Path], *, skipped: list[str] | None = None) -> list[Video]:
    """Read videos, all of them as normal ones.

    Args:
        places: videos, manifests (``.jsonl``), folders with a manifest.jsonl, and folders of videos, below which every
            video is taken. A labelled abnormal video of a manifest is left out.
        skipped: receives the problems of a manifest's lines, which are left out; if None, problems are an error.

    Raises:
        ManifestError: a place is missing or holds no normal video, a manifest cannot be read, or a video is named by
            two places.
    """
    found: dict[Path, Video] = {}
    for place in places:
        try:
            videos = _videos(place, skipped)
        except OSError as error:
            raise ManifestError(f"{place}: cannot be read: {error.strerror}") from None
        if not videos:
            raise ManifestError(f"{place}: holds no normal video; expected videos, a manifest, or a folder of either")
        for video in videos:
            if video.path in found:
                raise ManifestError(f"{place}: {video.path} is named by an earlier place, too; name it once")
            found[video.path] = video
    return list(found.values())


def _videos(place: Path, skipped: list[str] | None) -> list[Video]:
    """Raise OSError where a folder cannot be listed."""
    manifest = place / MANIFEST if place.is_dir() else place
    if manifest.suffix == ".jsonl" and manifest.exists():
        videos = read_manifest(manifest, skipped=skipped)
        return [replace(video, split=None) for video in videos if video.label == 0]
    if place.is_dir():
        # A link may lead to a video that has another name here.
        paths = dict.fromkeys(path.resolve() for path in films_below(place, PassedOver()))
        return [Video(path, 0) for path in paths]
    if place.exists():
        return [Video(place.resolve(), 0)]
    raise ManifestError(f"{place}: no such video, manifest or folder of ordinary footage")
