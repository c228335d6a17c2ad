"""Thresholds for scores of videos that the scoring weights never saw, smoothed as live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.card import Alerting
from models.jobs.errors import TrainingError
from operators.scores import ClipScore
from operators.smoothing import CausalMovingAverage

if TYPE_CHECKING:
    from models.jobs.calibration import ClipScores


def smoothed_as_live(scores: npt.ArrayLike, kernel: int) -> npt.NDArray[np.float64]:
    """Return the causal moving average of one stream's clip scores, by the operator that runs live."""
    average = CausalMovingAverage(kernel, max_hole=0)
    values = []
    for index, score in enumerate(np.asarray(scores, dtype=np.float64)):
        smoothed = average.push(ClipScore("evaluation", "stream", index, index, index + 1, float(score), "", ""))
        assert smoothed is not None
        values.append(smoothed.value)
    return np.array(values)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The effect of a threshold on the smoothed score, on videos that the model had not seen."""

    kernel: int
    threshold: float
    recall: float  #: share of the abnormal videos that reach it
    false_alarms: float  #: share of the normal videos that reach it


def peaks_as_live(
    scores: Sequence[ClipScores], labels: Sequence[int], groups: Sequence[str], kernel: int
) -> npt.NDArray[np.float64]:
    """Return each video's highest smoothed score, (videos,).

    Videos of one group and label follow one another as one stream: short videos alone would never fill a kernel.
    """
    peaks = np.zeros(len(scores))
    for stream in sorted(set(zip(groups, labels, strict=True))):
        members = [i for i, key in enumerate(zip(groups, labels, strict=True)) if key == stream]
        values = smoothed_as_live(np.concatenate([scores[i] for i in members]), kernel)
        ends = np.cumsum([len(scores[i]) for i in members])
        for i, part in zip(members, np.split(values, ends[:-1]), strict=True):
            peaks[i] = part.max()
    return peaks


def operating_point(
    peaks: npt.NDArray[np.float64], labels: Sequence[int], kernel: int, *, false_alarms: float
) -> OperatingPoint:
    """Choose the lowest threshold, in hundredths, that at most this share of the normal videos reaches.

    Without such a threshold it is 0.99, and the point holds the share that reaches it.
    """
    normal = peaks[np.array(labels) == 0]
    thresholds = [hundredths / 100 for hundredths in range(1, 100)]
    chosen = next((t for t in thresholds if (normal >= t).mean() <= false_alarms), thresholds[-1])
    return point_at(peaks, labels, kernel, chosen)


def point_at(peaks: npt.NDArray[np.float64], labels: Sequence[int], kernel: int, threshold: float) -> OperatingPoint:
    """Return the effect of ``threshold`` on videos with such ``peaks``."""
    reached, abnormal = peaks >= threshold, np.array(labels) == 1
    return OperatingPoint(kernel, threshold, float(reached[abnormal].mean()), float(reached[~abnormal].mean()))


def usable_kernels(kernels: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """Return the kernels that are no longer than the median video: a longer one would average over several videos.

    Args:
        lengths: of the videos on which they are compared, in clips as cut live.

    Raises:
        TrainingError: every kernel is longer.
    """
    longest = max(1, int(np.median(lengths)))
    if not (usable := [kernel for kernel in kernels if kernel <= longest]):
        raise TrainingError(
            f"alerting.kernels {', '.join(map(str, kernels))}: each is longer than the videos, whose median has "
            f"{longest} clips as cut live; add a shorter one, or give alerting.chosen"
        )
    return usable


def suggest_alerting(
    scores: Sequence[ClipScores],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    kernels: Sequence[int] = (1, 3, 5, 7),
    open_false_alarms: float = 0.08,
    close_false_alarms: float = 0.2,
) -> tuple[Alerting, OperatingPoint]:
    """Choose kernel and thresholds on out-of-fold scores, cut as live.

    An alert opens at a score that at most ``open_false_alarms`` of the normal videos reach, and stays open above one
    that at most ``close_false_alarms`` of them reach. Where videos are few, or the normal ones were picked to resemble
    the abnormal ones, a share below the default 8 % would be an estimate from a handful. The kernel with the highest
    recall is chosen, the shorter one of equals.

    Raises:
        TrainingError: see :func:`usable_kernels`.
    """
    points = [
        (operating_point(peaks, labels, kernel, false_alarms=open_false_alarms), peaks)
        for kernel in usable_kernels(kernels, [len(video) for video in scores])
        for peaks in [peaks_as_live(scores, labels, groups, kernel)]
    ]
    best, peaks = max(points, key=lambda point: (point[0].recall, -point[0].kernel))
    close = operating_point(peaks, labels, best.kernel, false_alarms=close_false_alarms)
    return Alerting(kernel=best.kernel, open_threshold=best.threshold, close_threshold=close.threshold), best


def alerting_of_normal(
    pieces: Sequence[npt.NDArray[np.float64]],
    kernel: int,
    *,
    least: float = 0.5,
    open_share: float = 1e-3,
    close_share: float = 1e-2,
) -> tuple[Alerting, dict[str, float]]:
    """Choose thresholds on scores of normal footage alone, which the detector has not learned from.

    An alert opens at the lowest threshold, in hundredths, that at most ``open_share`` of the smoothed scores reach, and
    stays open above one that at most ``close_share`` of them reach. A budget of false alarms takes more footage:
    ``mistwatch calibrate``.

    Args:
        pieces: scores in [0, 1] of each unbroken stretch, in order, by clips as cut live.
        kernel: of the causal moving average, clips.
        least: threshold below which no alert opens, however quiet the footage.

    Returns:
        the settings, and the shares of the smoothed scores that reach the two thresholds.
    """
    smoothed = np.concatenate([smoothed_as_live(piece, kernel) for piece in pieces])
    thresholds = [hundredths / 100 for hundredths in range(1, 100)]

    def lowest(share: float) -> float:
        return next((t for t in thresholds if (smoothed >= t).mean() <= share), thresholds[-1])

    opens = max(lowest(open_share), least)
    closes = min(lowest(close_share), opens)
    reached = {
        "share_at_open_threshold": round(float((smoothed >= opens).mean()), 5),
        "share_at_close_threshold": round(float((smoothed >= closes).mean()), 5),
    }
    return Alerting(kernel=kernel, open_threshold=opens, close_threshold=closes), reached
