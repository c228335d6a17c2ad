"""Checks of a manifest's videos before anything is computed from them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video, listed, open_video
from pipeline.manifests.masks import masks_of, size_problem
from pipeline.sources.base import FrameSpec, SourceError

_LABELS = ("normal", "abnormal")


@dataclass(frozen=True, slots=True)
class Bad:
    """A video that cannot be used."""

    video: Video
    reason: str


def readable(
    videos: Sequence[Video], *, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> tuple[list[Video], list[Bad]]:
    """Separate usable videos (a picture can be decoded, intervals and masks match the video) from the others.

    Only one picture of each is decoded; the rest of a film may still be damaged.

    Returns:
        The usable videos, in their order, and the others.
    """
    good: list[Video] = []
    bad: list[Bad] = []
    for done, video in enumerate(videos, start=1):
        if (reason := _problem(video)) is None:
            good.append(video)
        else:
            bad.append(Bad(video, reason))
        progress(done, len(videos))
    return good, bad


def refuse(bad: Sequence[Bad]) -> None:
    """Raise if :func:`readable` found unusable videos.

    Raises:
        ManifestError: the first ten, a line each, and the number of the others.
    """
    if bad:
        raise ManifestError(listed([one.reason for one in bad], "{} more videos cannot be used; --skip-bad lists all"))


def check_split(videos: Sequence[Video], *, whole_groups: bool = True) -> None:
    """Check that every split has videos of both labels, and that no group is in two splits.

    Args:
        videos: of a manifest; those without a split are for training.
        whole_groups: False if a published test shares groups with the rest, as ShanghaiTech's shares scenes. Even then
            no group may be divided between training and validation.

    Raises:
        ManifestError: a line for each violation.
    """
    problems = []
    for split in sorted({video.split or TRAIN for video in videos}):
        counts = [sum(v.label == label for v in videos if (v.split or TRAIN) == split) for label in (0, 1)]
        problems += [
            f"split {split}: no {_LABELS[label]} video, {counts[1 - label]} {_LABELS[1 - label]}; both are needed"
            for label in (0, 1)
            if not counts[label]
        ]
    groups: dict[str, set[str]] = defaultdict(set)
    for video in videos:
        groups[video.split or TRAIN].add(video.group)
    for one, other in combinations(sorted(groups), 2):
        divided = sorted(groups[one] & groups[other])
        if divided and (whole_groups or TEST not in (one, other)):
            shown = ", ".join(divided[:10]) + (f" and {len(divided) - 10} more" if len(divided) > 10 else "")
            problems.append(f"splits {one} and {other} have groups in common: {shown}; each belongs to one split alone")
    if problems:
        raise ManifestError("\n".join(problems))


def check_copies(videos: Sequence[Video], contents: Mapping[Path, str], *, folds: bool = False) -> None:
    """Check that no film is in two splits under two names.

    Args:
        videos: divided; those without a split are for training.
        contents: a hash of each video's content, by its path; empty or missing if unknown.
        folds: whether videos outside the test are divided into folds by group: copies must then be of one group.

    Raises:
        ManifestError: a line for each copy, the first ten.
    """
    problems = []
    first: dict[str, Video] = {}
    for video in videos:
        if not (content := contents.get(video.path)):
            continue
        other = first.setdefault(content, video)
        splits = [one.split or TRAIN for one in (video, other)]
        if splits[0] != splits[1]:
            problems.append(
                f"{video.path} (split {splits[0]}) is a copy of {other.path} (split {splits[1]}): leave one of them "
                "out, or put both into one group and one split"
            )
        elif folds and TEST not in splits and video.group != other.group:
            problems.append(
                f"{video.path} is a copy of {other.path}, and folds by group may divide the two: leave one of them "
                "out, or put both into one group"
            )
    if problems:
        raise ManifestError(listed(problems, "{} more copies"))


def _problem(video: Video) -> str | None:
    try:
        recording = open_video(video)
        with closing(recording.frames([FrameSpec(16, 16)], threading.Event())) as frames:  # type: ignore[type-var]
            next(frames)
        count = len(recording.frame_times()) if video.intervals or video.masks is not None else 0
        if video.masks is not None:
            masks = masks_of(video.masks, str(video.path))
            if len(masks) != count:
                return f"{video.path}: {count} frames, and {len(masks)} masks in {video.masks}; expected one a frame"
            if (reason := size_problem(masks, recording)) is not None:
                return f"{video.path}: {reason}; the masks are {video.masks}"
        if video.intervals:
            for first, end in video.intervals:
                if end > count:
                    return f"{video.path}: interval [{first}, {end}] reaches past the end, it has {count} frames"
    except (SourceError, ManifestError) as error:
        return str(error)
    except StopIteration:
        return f"{video.path}: no picture could be decoded"
    return None
