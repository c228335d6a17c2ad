"""The stage ``features``: all clips through the backbone, once. The result lies in the user's cache.

``clips.json`` says how many clips each video has, which videos are damaged, and which are left out for which reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.data.extraction import FeaturesError
from models.detectors.mist.footage import Footage
from models.jobs.rows import read_json, write_json
from pipeline.manifests.checks import readable, refuse
from pipeline.manifests.manifest import listed

if TYPE_CHECKING:
    from pipeline.manifests.manifest import Video

CLIPS_FILE = "clips.json"


def compute(
    folder: Path,
    footage: Footage,
    videos: Sequence[Video],
    names: dict[Path, str],
    *,
    known: Collection[Path],
    judged: Collection[Path],
    extra: Sequence[Video],
    skip_bad: bool,
    progress: Callable[[str, int, int], None],
) -> None:
    """Compute what the cache lacks, and write ``clips.json``.

    Args:
        known: those outside the test, of which the clips as cut for training are needed.
        judged: those of which the clips as cut live are needed.
        extra: ordinary footage, of which the clips as cut for training are needed.
        skip_bad: leave out unusable videos; otherwise they end the stage.
        progress: called with (part of the work, videos done, videos in all).

    Raises:
        pipeline.manifests.manifest.ManifestError: some videos cannot be opened; a line each.
        FeaturesError: some videos cannot be decoded; a line each.
    """
    good, unreadable = readable((*videos, *extra), progress=lambda done, total: progress("videos", done, total))
    if not skip_bad:
        refuse(unreadable)
    bad = {one.video.path: one.reason for one in unreadable}
    ordinary = {video.path for video in extra}
    bad |= footage.fill(
        [video for video in good if video.path in known],
        [video for video in good if video.path in judged],
        [video for video in good if video.path in ordinary],
        progress=lambda done, total: progress("features", done, total),
    )
    if bad and not skip_bad:
        problems = listed(list(bad.values()), "{} more videos cannot be used")
        raise FeaturesError(f"{problems}\nleave such videos out with --skip-bad")
    usable = [video for video in videos if video.path not in bad]
    found = {names[video.path]: footage.clips(video, live=video.path not in known) for video in usable}
    found |= {names[video.path]: footage.clips(video) for video in extra if video.path not in bad}
    about: dict[str, Any] = {
        "clips": {name: len(clips) for name, clips in found.items()},
        "live": {names[video.path]: len(footage.clips(video, live=True)) for video in usable if video.path in judged},
        "damaged": {name: clips.damage for name, clips in found.items() if clips.damage},
        "skipped": {names[path]: reason for path, reason in bad.items()},
    }
    write_json(folder / CLIPS_FILE, about)


def read(folder: Path) -> dict[str, Any]:
    """Return the content of ``clips.json``."""
    found: dict[str, Any] = read_json(folder / CLIPS_FILE)
    return found
