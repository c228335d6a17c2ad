"""One array of all videos end to end, divided by a list of the videos.

Many projects store one array for the whole test set, in the order of their list: a label a frame, and a score a clip or
a frame. The list says how long each video is. Programs differ in what they do with the frames after a video's last
whole clip: some keep them, some do not. The length of the array says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.judged import Floats
from pipeline.evaluation.score_files import ForeignScoresError
from pipeline.manifests.video_lists import read_list

Counts = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

#: Frames of a clip, to whose multiples projects cut the labels and scores of frames.
_CLIP_FRAMES = 16


def read_lengths(file: Path) -> dict[str, int]:
    """Return the number of frames of each listed video, in the list's order.

    Raises:
        ManifestError: the file or a line of it cannot be read.
        ForeignScoresError: a line states no number of frames, or names a video again.
    """
    lengths: dict[str, int] = {}
    for listed in read_list(file):
        name = str(listed.path)
        if listed.frames is None:
            raise ForeignScoresError(f"{listed.place}: expected NAME FRAMES, got {listed.line!r}")
        if name in lengths:
            raise ForeignScoresError(f"{listed.place}: {name} is named twice")
        lengths[name] = listed.frames
    if not lengths:
        raise ForeignScoresError(f"{file}: names no video")
    return lengths


def divided_scores(values: Floats, lengths: Mapping[str, int], frames_per_score: int) -> dict[str, Floats]:
    """Return the scores of each video, (n,), from those of all, one after the other.

    Raises:
        ForeignScoresError: their number is not that of the videos' frames.
    """
    counts = [-(-kept // frames_per_score) for kept in _kept(lengths, frames_per_score)]
    return _divided(values, lengths, counts, f"scores of {frames_per_score} frames")


def divided_labels(
    values: npt.NDArray[np.bool_], lengths: Mapping[str, int], frames_per_score: int
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the labels of each video, (frames,), from those of all. Raises ForeignScoresError."""
    return _divided(values, lengths, _kept(lengths, frames_per_score), "labels")


def _kept(lengths: Mapping[str, int], frames_per_score: int) -> list[Counts]:
    """Return the numbers of frames that a program may have kept of each video."""
    frames = np.array(list(lengths.values()), np.int64)
    return [frames, *(frames // each * each for each in (frames_per_score, _CLIP_FRAMES))]


def _divided(
    values: npt.NDArray[T], lengths: Mapping[str, int], counts: list[Counts], what: str
) -> dict[str, npt.NDArray[T]]:
    for each in counts:
        if each.sum() == len(values):
            return dict(zip(lengths, np.split(values, np.cumsum(each)[:-1]), strict=True))
    totals = sorted({int(each.sum()) for each in counts})
    raise ForeignScoresError(
        f"one array of {len(values)} {what}; the {len(lengths)} listed videos have {sum(lengths.values())} frames, "
        f"which are {' or '.join(map(str, totals))} {what}: expected the list of these videos, or another "
        "--frames-per-score"
    )
