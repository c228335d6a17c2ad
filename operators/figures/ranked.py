"""Figures for judging a model of video anomalies.

| figure | meaning |
|---|---|
| ``frame_auc`` | area under the ROC curve of all frames of all videos together, the field's usual one |
| ``frame_ap`` | average precision of the same frames |
| ``frame_eer`` | equal error rate: the false-positive rate at the threshold where it equals the miss rate |
| ``frame_recall_at_1``, ``_2``, ``_5`` | recall at the threshold that flags at most 1, 2 or 5 per cent of the normal frames |
| ``per_video_auc`` | mean of the ROC areas of the abnormal videos, each by itself: it measures *when*, not in which video |
| ``far_normal`` | share of the normal videos' frames with a score above 0.5: the false-alarm rate that MIST publishes |
| ``far_abnormal`` | share of the abnormal videos' normal frames with a score above 0.5 |
| ``video_auc``, ``video_ap``, ``video_recall_at_1``, ``_2``, ``_5`` | as above, of the videos' own scores and labels |

A figure that is undefined for the videos (a curve without one of the classes, frames without labels) has a reason
instead of a value. :mod:`operators.figures.bootstrap` computes confidence intervals.

The figures equal scikit-learn's to the last digits (the tests compare them with ``roc_auc_score``,
``average_precision_score`` and ``roc_curve``). scikit-learn sorts the scores for each figure. A bootstrap computes some
fifteen figures of the same scores two thousand times, so here the scores are sorted once, and a draw is two cumulative
sums: a tenth of the time, or less.
"""  # noqa: E501  (a table)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.figures.videos import ScoredVideo

#: A frame with a higher score counts as a false alarm in ``far_normal`` and ``far_abnormal``; the papers' value.
FAR_THRESHOLD = 0.5
#: Allowed shares of flagged normal ones, per cent.
FALSE_POSITIVES = (1, 2, 5)

Floats = npt.NDArray[np.float64]


class Undefined(ValueError):
    """A figure that is undefined for these videos. The message is one line with the reason.

    Derived from ValueError and not from the pipeline's root of errors, because operators import nothing of the
    pipeline: its callers catch this error and turn it into a reason or an error of their own.
    """


class _Curve(NamedTuple):
    """A ROC curve: shares of the flagged normal and abnormal ones, by falling threshold, and the number of each."""

    false: Floats
    true: Floats
    normal: float
    abnormal: float


class _Ranked:
    """Scored items by falling score. Equal items of one video are a single row, weighted by their number."""

    def __init__(
        self, scores: Floats, labels: npt.NDArray[np.bool_], owners: npt.NDArray[np.intp], weights: Floats
    ) -> None:
        """Sort the rows. All arrays are (rows,); ``owners`` are ordinals of videos."""
        order = np.argsort(-scores, kind="stable")
        self._labels, self._owners, self._weights = labels[order], owners[order], weights[order]
        #: the last row of each score: equal scores are flagged together
        self._ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        self.thresholds: Floats = np.concatenate([[np.inf], scores[order][self._ends]])  #: of a curve's points

    def curve(self, copies: Floats, what: str) -> _Curve:
        """Return the curve for ``copies`` copies of each video, (videos,).

        Raises:
            Undefined: only one of the classes is left.
        """
        weights = self._weights * copies[self._owners]
        false, true = (self._flagged(np.where(self._labels == label, weights, 0.0)) for label in (False, True))
        if not (false[-1] and true[-1]):
            missing = "normal" if true[-1] else "abnormal"
            raise Undefined(f"a curve needs normal and abnormal {what}; got no {missing} ones")
        return _Curve(false / false[-1], true / true[-1], float(false[-1]), float(true[-1]))

    def _flagged(self, weights: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(weights)[self._ends]])


class Sample:
    """Videos to draw from; a draw may hold any number of copies of each.

    Args:
        videos: at least one.
        threshold: above which a frame is a false alarm.

    Raises:
        ValueError: no video, or two of one name.
    """

    def __init__(self, videos: Sequence[ScoredVideo], *, threshold: float = FAR_THRESHOLD) -> None:
        if not videos:
            raise ValueError("figures need at least one video")
        if len({video.name for video in videos}) < len(videos):
            raise ValueError("two of the videos have the same name")
        self.videos = list(videos)
        self._threshold = threshold
        self.labels = np.array([video.label for video in videos]) == 1
        self._scores = np.array([video.score for video in videos], np.float64)

    def drawn(self, copies: npt.NDArray[np.int64] | None = None) -> Draw:
        """Return a draw with ``copies`` copies of each video, int64 (videos,); one of each if None."""
        return Draw(self, np.ones(len(self.videos)) if copies is None else copies.astype(np.float64))

    @property
    def without_frames(self) -> str | None:
        """Reason why the frames have no curve in any draw; None if they have one."""
        if without := [video.name for video in self.videos if video.frame_scores is None]:
            return f"{len(without)} of {len(self.videos)} videos have no frame scores, {without[0]} among them"
        if without := [video.name for video in self.videos if video.label and video.frame_labels is None]:
            return f"{len(without)} abnormal videos have no frame labels, {without[0]} among them"
        return None

    @cached_property
    def frames(self) -> _Ranked:
        """All frames with a score, ranked; those of unknown label count as normal."""
        # Clip scores are repeated over their frames, so merging equal rows cuts a bootstrap's time to about a
        # sixteenth.
        parts: list[tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.intp], Floats]] = []
        for owner, video in enumerate(self.videos):
            if video.frame_scores is not None:
                known = video.frame_labels
                labels = np.zeros(len(video.frame_scores), np.bool_) if known is None else known
                for label in (False, True):
                    scores, counts = np.unique(video.frame_scores[labels == label], return_counts=True)
                    same = len(scores)
                    parts.append((scores, np.full(same, label), np.full(same, owner), counts.astype(np.float64)))
        scores, row_labels, owners, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Ranked(scores, row_labels, owners, weights)

    @cached_property
    def whole_videos(self) -> _Ranked:
        """The videos ranked by their own scores."""
        count = len(self.videos)
        return _Ranked(self._scores, self.labels, np.arange(count), np.ones(count))

    @cached_property
    def flagged(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Number of normal frames of each video (of known label), and of those above the threshold."""
        normal, above = np.zeros(len(self.videos)), np.zeros(len(self.videos))
        for i, video in enumerate(self.videos):
            if video.frame_scores is None or (video.label and video.frame_labels is None):
                continue
            scores = video.frame_scores if video.frame_labels is None else video.frame_scores[~video.frame_labels]
            normal[i], above[i] = len(scores), (scores > self._threshold).sum()
        return normal, above

    @cached_property
    def own_areas(self) -> Floats:
        """ROC area of each abnormal video's own frames, (videos,); NaN if undefined."""
        areas = np.full(len(self.videos), np.nan)
        for i, video in enumerate(self.videos):
            scores, labels = video.frame_scores, video.frame_labels
            if video.label and labels is not None and scores is not None and 0 < labels.sum() < len(labels):
                alone = _Ranked(scores, labels, np.zeros(len(labels), np.intp), np.ones(len(labels)))
                areas[i] = _area(alone.curve(np.ones(1), "frames"))
        return areas


class Draw:
    """The figures of a :class:`Sample` with ``copies`` copies of each video."""

    def __init__(self, sample: Sample, copies: Floats) -> None:
        self._sample = sample
        self._copies = copies

    def frame_auc(self) -> float:
        return _area(self._frame_curve)

    def frame_ap(self) -> float:
        return _average_precision(self._frame_curve)

    def frame_eer(self) -> float:
        curve = self._frame_curve
        # The share of flagged normal ones minus that of unflagged abnormal ones rises from -1 to 1 along the curve.
        return float(np.interp(0.0, curve.false + curve.true - 1, curve.false))

    def frame_recall(self, false_positives: float) -> float:
        return _recall(self._frame_curve, false_positives)

    def per_video_auc(self) -> float:
        if self._sample.without_frames:
            raise Undefined(self._sample.without_frames)
        areas = self._sample.own_areas
        counted = self._copies * np.isfinite(areas)
        if not counted.sum():
            raise Undefined("no abnormal video has both normal and abnormal frames")
        return float((counted * np.nan_to_num(areas)).sum() / counted.sum())

    def far_normal(self) -> float:
        return self._far(0, "no normal video has frame scores")

    def far_abnormal(self) -> float:
        return self._far(1, "no abnormal video has frames that are known to be normal")

    def video_auc(self) -> float:
        return _area(self._video_curve)

    def video_ap(self) -> float:
        return _average_precision(self._video_curve)

    def video_recall(self, false_positives: float) -> float:
        return _recall(self._video_curve, false_positives)

    def _far(self, label: int, reason: str) -> float:
        normal, above = self._sample.flagged
        copies = self._copies * (self._sample.labels == label)
        frames = float((copies * normal).sum())
        if not frames:
            raise Undefined(reason)
        return float((copies * above).sum()) / frames

    @cached_property
    def _frame_curve(self) -> _Curve:
        if reason := self._sample.without_frames:
            raise Undefined(reason)
        return self._sample.frames.curve(self._copies, "frames")

    @cached_property
    def _video_curve(self) -> _Curve:
        return self._sample.whole_videos.curve(self._copies, "videos")


def _recalls(recall: Callable[[Draw, float], float], what: str) -> dict[str, Callable[[Draw], float]]:
    def at(percent: int) -> Callable[[Draw], float]:
        return lambda draw: recall(draw, percent / 100)

    return {f"{what}_recall_at_{percent}": at(percent) for percent in FALSE_POSITIVES}


FIGURES: Mapping[str, Callable[[Draw], float]] = MappingProxyType(
    {
        "frame_auc": Draw.frame_auc,
        "frame_ap": Draw.frame_ap,
        "frame_eer": Draw.frame_eer,
        **_recalls(Draw.frame_recall, "frame"),
        "per_video_auc": Draw.per_video_auc,
        "far_normal": Draw.far_normal,
        "far_abnormal": Draw.far_abnormal,
        "video_auc": Draw.video_auc,
        "video_ap": Draw.video_ap,
        **_recalls(Draw.video_recall, "video"),
    }
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure's value, or the reason why it has none."""

    value: float | None
    reason: str = ""


def figures(
    videos: Sequence[ScoredVideo], *, names: Sequence[str] | None = None, threshold: float = FAR_THRESHOLD
) -> dict[str, Figure]:
    """Return the figures of one run over ``videos``.

    Args:
        names: of :data:`FIGURES`; all if None.
        threshold: above which a frame is a false alarm.

    Raises:
        ValueError: no video, two of one name, or an unknown name.
    """
    draw = Sample(videos, threshold=threshold).drawn()
    return {name: figure_of(draw, name) for name in check_names(names)}


def figure_of(draw: Draw, name: str) -> Figure:
    """Return one figure of a draw."""
    try:
        return Figure(FIGURES[name](draw))
    except Undefined as undefined:
        return Figure(None, str(undefined))


@dataclass(frozen=True, slots=True)
class FrameCurve:
    """Rates over all frames at each threshold, by falling threshold; all arrays (n,).

    Attributes:
        thresholds: frames with a score at or above it are flagged; the first is inf and flags no frame.
        false: share of the normal frames that is flagged.
        true: share of the abnormal ones (recall).
        precision: share of the flagged ones that are abnormal; 1 if none is flagged.
    """

    thresholds: Floats
    false: Floats
    true: Floats
    precision: Floats


def frame_curve(videos: Sequence[ScoredVideo]) -> FrameCurve:
    """Return the ROC and precision-recall curves of all frames together.

    Raises:
        ValueError: no video, or two of one name.
        Undefined: the frames have no curve; one line with the reason.
    """
    sample = Sample(videos)
    if reason := sample.without_frames:
        raise Undefined(reason)
    curve = sample.frames.curve(np.ones(len(videos)), "frames")
    found, false = curve.true * curve.abnormal, curve.false * curve.normal
    precision = found[1:] / (found + false)[1:]
    return FrameCurve(sample.frames.thresholds, curve.false, curve.true, np.concatenate([[1.0], precision]))


def check_names(names: Sequence[str] | None) -> list[str]:
    """Return ``names``, or the names of all figures if None. Raises ValueError: an unknown name."""
    if unknown := sorted(set(names or ()) - set(FIGURES)):
        raise ValueError(f"unknown figure {unknown[0]!r}: expected {', '.join(FIGURES)}")
    return list(FIGURES if names is None else names)


def _area(curve: _Curve) -> float:
    return float(np.trapezoid(curve.true, curve.false))


def _recall(curve: _Curve, false_positives: float) -> float:
    return float(curve.true[curve.false <= false_positives].max())


def _average_precision(curve: _Curve) -> float:
    found, false = curve.true[1:] * curve.abnormal, curve.false[1:] * curve.normal
    flagged = found + false
    precision = found / np.where(flagged > 0, flagged, 1.0)
    return float((np.diff(curve.true) * precision).sum())
