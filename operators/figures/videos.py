"""Scored videos and their labels.

A model scores clips; papers judge frames, and operators judge videos. A clip's score is repeated for each of its
frames, as in MIST's test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FrameScores = npt.NDArray[np.float64]
FrameLabels = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScoredVideo:
    """One video with the scores that a model gave it.

    Attributes:
        name: unique; the same video has the same name in every run.
        label: 1 abnormal, 0 normal.
        score: of the video as a whole, higher is more abnormal.
        frame_scores: float64 (F,), of its frames; None where only the whole video was scored.
        frame_labels: bool (F,), which of its frames are abnormal; None if that is unknown. A normal video has
            none, and needs no labels.
        group: common origin with others (a camera, a source film); a video without one is its own group.

    Raises:
        ValueError: a label outside 0 and 1, scores that are not finite, labels and scores of different lengths, or
            abnormal frames in a normal video.
    """

    name: str
    label: int
    score: float
    frame_scores: FrameScores | None = None
    frame_labels: FrameLabels | None = None
    group: str = ""

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise ValueError(f"{self.name}: label must be 0 or 1, got {self.label!r}")
        if not np.isfinite(self.score):
            raise ValueError(f"{self.name}: its score must be a finite number, got {self.score!r}")
        if self.frame_scores is not None and not (
            self.frame_scores.ndim == 1 and self.frame_scores.size and np.isfinite(self.frame_scores).all()
        ):
            raise ValueError(f"{self.name}: expected one finite score a frame, and at least one frame")
        if self.frame_labels is not None:
            if self.frame_scores is None or self.frame_labels.shape != self.frame_scores.shape:
                scored = 0 if self.frame_scores is None else len(self.frame_scores)
                raise ValueError(f"{self.name}: {len(self.frame_labels)} frames have a label and {scored} a score")
            if not self.label and self.frame_labels.any():
                raise ValueError(f"{self.name}: a normal video (label 0) has no abnormal frames")

    @property
    def unit(self) -> str:
        """Name of the unit that draws by group draw together: the group, or the video itself."""
        return self.group or self.name


def scored_video(
    name: str,
    label: int,
    clip_scores: npt.ArrayLike,
    *,
    starts: Sequence[int] | npt.NDArray[np.int64] | None = None,
    clip_frames: int = 16,
    frames: int | None = None,
    intervals: Sequence[tuple[int, int]] = (),
    group: str = "",
) -> ScoredVideo:
    """Return a video made from the scores of its clips. Its own score is their mean.

    Args:
        name, label, group: see :class:`ScoredVideo`.
        clip_scores: (n,), n ≥ 1.
        starts: (n,), each clip's first frame, see :func:`repeated`; one after the other if None.
        frames: number of frames of the video; if None, only the whole video is judged.
        intervals: of abnormal frames, half open, counted from 0; an abnormal video without any has unknown frame
            labels.

    Raises:
        ValueError: see :class:`ScoredVideo`, :func:`repeated` and :func:`abnormal_frames`.
    """
    scores = np.asarray(clip_scores, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f"{name}: expected one score a clip, and at least one clip; got shape {scores.shape}")
    try:
        of_frames = None if frames is None else repeated(scores, frames, starts=starts, clip_frames=clip_frames)
        labels = None if frames is None or (label and not intervals) else abnormal_frames(intervals, frames)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return ScoredVideo(name, label, float(scores.mean()), of_frames, labels, group)


def repeated(
    clip_scores: npt.ArrayLike,
    frames: int,
    *,
    starts: Sequence[int] | npt.NDArray[np.int64] | None = None,
    ends: Sequence[int] | npt.NDArray[np.int64] | None = None,
    clip_frames: int = 16,
) -> FrameScores:
    """Return each clip's score for each of its frames: (n,) → (frames,).

    A frame in several clips gets the mean of their scores. A frame outside every clip (the end of a video whose length
    is not a multiple of a clip's, a gap) gets the score of the clip before it, or of the first clip.

    Args:
        clip_scores: (n,), n ≥ 1, in the order of ``starts``.
        frames: of the video, at least 1.
        starts: (n,), each clip's first frame, rising, from 0; ``0, clip_frames, 2 · clip_frames, …`` if None.
        ends: (n,), the frame after each clip's last, if clips differ in length; ``starts + clip_frames`` if None.

    Raises:
        ValueError: not as many starts or ends as scores, starts that do not rise, a clip that begins past the end, or
            an end that is not after its start.
    """
    scores = np.asarray(clip_scores, np.float64)
    first = np.arange(len(scores)) * clip_frames if starts is None else np.asarray(starts, np.int64)
    if len(first) != len(scores) or not len(scores):
        raise ValueError(f"{len(scores)} clips have a score and {len(first)} a start")
    if first[0] < 0 or (np.diff(first) <= 0).any() or first[-1] >= frames:
        raise ValueError(f"clips must begin one after the other within the {frames} frames, got starts {first}")
    end = first + clip_frames if ends is None else np.asarray(ends, np.int64)
    if end.shape != first.shape or (end <= first).any():
        raise ValueError(f"clips must end after they start, got starts {first} and ends {end}")
    total, count = np.zeros(frames), np.zeros(frames)
    for start, stop, score in zip(first, end, scores, strict=True):
        total[start:stop] += score
        count[start:stop] += 1
    before = np.searchsorted(first, np.arange(frames), side="right") - 1
    return np.where(count > 0, total / np.maximum(count, 1), scores[np.maximum(before, 0)])


def abnormal_frames(intervals: Sequence[tuple[int, int]], frames: int) -> FrameLabels:
    """Convert half-open intervals of abnormal frames, counted from 0, to labels: bool (frames,).

    Raises:
        ValueError: an interval that is empty, begins before 0 or ends past the last frame.
    """
    labels = np.zeros(frames, np.bool_)
    for first, end in intervals:
        if not 0 <= first < end <= frames:
            raise ValueError(f"abnormal frames [{first}, {end}): expected an interval within its {frames} frames")
        labels[first:end] = True
    return labels
