"""From the generator's scores to the soft labels that the encoder is trained on (MIST, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from operators import smoothing

LABELS_FILE = "pseudo-labels.jsonl"  #: the soft labels of a job's training videos, a line each

SoftLabels = npt.NDArray[np.float32]  #: (n,) in [0, 1], one video's

#: Below this span of its smoothed scores a video is too flat to be stretched by ``auto``: the generator
#: separates nothing in it, and the stretch would turn noise into certainties. A choice of ours, a tenth of the range.
FLAT = 0.1


def pseudo_labels(
    scores: Sequence[npt.ArrayLike],
    labels: Sequence[int],
    *,
    segments: Sequence[npt.ArrayLike] | None = None,
    kernel: int = 5,
    twice: bool = True,
    min_max: bool | Literal["auto"] = "auto",
    unstretched: Literal["scores", "label"] = "scores",
) -> list[SoftLabels]:
    """Return soft labels of the clips of every video: 0 in normal ones, smoothed and stretched scores in abnormal ones.

    Args:
        scores: of each video's clips, (n,), in [0, 1].
        labels: of each video, 0 or 1.
        segments: of each video, (n,), ordinal of the segment that each clip was cut from: no average spans two. By
            default a video is one.
        kernel: of the centred moving average, an odd number of clips.
        twice: smooth twice, as the public reference does; once, as the paper writes.
        min_max: stretch each abnormal video to [0, 1]. ``auto`` leaves those alone that are too short for the
            smoothing (no clip whose average lies within its segment) or too flat (see ``FLAT``): there the highest of a
            few clips that look alike would be called certainly abnormal and the lowest certainly normal.
        unstretched: labels of the clips of an abnormal video that is left alone: their smoothed scores, or the video's
            label, 1, where short videos were cut to show nothing but the anomaly.

    Returns:
        float32 (n,), one for each video.

    Raises:
        ValueError: a label that is not 0 or 1, another number of labels than of videos, scores that are not a row of at
            least one number or not in [0, 1], or an impossible kernel.
    """
    soft: list[SoftLabels] = []
    for ordinal, (video, label) in enumerate(zip(scores, labels, strict=True)):
        row = np.asarray(video, dtype=np.float64)
        one = np.zeros(row.shape) if segments is None else np.asarray(segments[ordinal])
        parts = np.split(row, np.flatnonzero(np.diff(one)) + 1)
        if label not in (0, 1):
            raise ValueError(f"video {ordinal}: a label must be 0 or 1, got {label!r}")
        if not ((row >= 0) & (row <= 1)).all():
            raise ValueError(f"video {ordinal}: scores must lie in [0, 1], got some outside, or NaN")
        smoothed = np.concatenate([smoothing.centred(part, kernel, passes=2 if twice else 1) for part in parts])
        if label == 0:
            soft.append(np.zeros(len(smoothed), np.float32))
        elif min_max == "auto" and (max(map(len, parts)) < kernel or float(np.ptp(smoothed)) < FLAT):
            soft.append((np.ones(len(smoothed)) if unstretched == "label" else smoothed).astype(np.float32))
        else:
            soft.append((smoothing.min_max(smoothed) if min_max else smoothed).astype(np.float32))
    return soft
