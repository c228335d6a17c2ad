"""The figures by which a model of video anomalies is judged.

| figure | what it is |
|---|---|
| ``frame_auc`` | area under the ROC curve of all frames of all videos together, the field's usual one |
| ``frame_ap`` | average precision of the same frames |
| ``frame_eer`` | where on that curve as large a share of the normal frames is flagged as of the abnormal ones is not |
| ``frame_recall_at_1``, ``_2``, ``_5`` | share of the abnormal frames that is flagged by a threshold which flags at most so many per cent of the normal ones |
| ``per_video_auc`` | mean of the ROC areas of the abnormal videos, each by itself: *when*, not in which video |
| ``far_normal`` | share of the normal videos' frames with a score above 0.5: the false-alarm rate that MIST publishes |
| ``far_abnormal`` | share of the abnormal videos' normal frames with a score above 0.5 |
| ``video_auc``, ``video_ap``, ``video_recall_at_1``, ``_2``, ``_5`` | as above, of the videos' own scores and labels |

A figure that the videos cannot have (a curve without one of the classes, frames without labels) has no value but a
reason. How far a figure would move with other videos is :mod:`operators.figures.bootstrap`'s business.

They are scikit-learn's figures to the last digits (its ``roc_auc_score``, ``average_precision_score`` and ``roc_curve``
are what the tests hold them against). It sorts the scores for each of them; a bootstrap asks for some fifteen figures
of the same scores two thousand times, so here they are sorted once, and a draw is two cumulative sums: a tenth of the
time, or less.
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

#: A frame with a higher score counts as flagged where a false-alarm rate is asked for; the papers' value.
FAR_THRESHOLD = 0.5
#: Shares of the normal ones that may be flagged, per cent.
FALSE_POSITIVES = (1, 2, 5)

Floats = npt.NDArray[np.float64]


class Undefined(Exception):
    """The videos do not have this figure. One line that says why."""


class _Curve(NamedTuple):
    """A ROC curve: shares of the normal and of the abnormal ones that are flagged, by falling threshold, and how many
    of each there are."""

    false: Floats
    true: Floats
    normal: float
    abnormal: float


class _Ranked:
    """Scored things by falling score. Equal ones of one video are a single row, weighted by their number."""

    def __init__(
        self, scores: Floats, labels: npt.NDArray[np.bool_], owners: npt.NDArray[np.intp], weights: Floats
    ) -> None:
        """All (rows,); ``owners`` are ordinals of videos."""
        order = np.argsort(-scores, kind="stable")
        self._labels, self._owners, self._weights = labels[order], owners[order], weights[order]
        #: the last row of each score: equal ones are flagged together
        self._ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        self.thresholds: Floats = np.concatenate([[np.inf], scores[order][self._ends]])  #: of a curve's points

    def curve(self, copies: Floats, what: str) -> _Curve:
        """With so many copies of each video, (videos,).

        Raises:
            Undefined: only one of the classes is left.
        """
        weights = self._weights * copies[self._owners]
        false, true = (self._flagged(np.where(self._labels == label, weights, 0.0)) for label in (False, True))
        if not (false[-1] and true[-1]):
            missing = "normal" if true[-1] else "abnormal"
            raise Undefined(f"a curve needs normal and abnormal {what}, and there are no {missing} ones")
        return _Curve(false / false[-1], true / true[-1], float(false[-1]), float(true[-1]))

    def _flagged(self, weights: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(weights)[self._ends]])


class Sample:
    """Videos, of which a draw may hold any number of copies each.

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
        """So many copies of each video; ``copies`` is int64 (videos,), one of each if None."""
        return Draw(self, np.ones(len(self.videos)) if copies is None else copies.astype(np.float64))

    @property
    def without_frames(self) -> str | None:
        """Why the frames have no curve, whatever is drawn."""
        if without := [video.name for video in self.videos if video.frame_scores is None]:
            return f"{len(without)} of {len(self.videos)} videos have no frame scores, {without[0]} among them"
        if without := [video.name for video in self.videos if video.label and video.frame_labels is None]:
            return f"of {len(without)} abnormal videos it is not known which frames are, {without[0]} among them"
        return None

    @cached_property
    def frames(self) -> _Ranked:
        """All frames with a score; those of unknown label count as normal."""
        # Clip scores are repeated over their frames, so this is a sixteenth of them, and so is the time of a bootstrap.
        parts: list[tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.intp], Floats]] = []
        for owner, video in enumerate(self.videos):
            if video.frame_scores is not None:
                known = video.frame_labels
                labels = np.zeros(len(video.frame_scores), np.bool_) if known is None else known
                for label in (False, True):
                    scores, counts = np.unique(video.frame_scores[labels == label], return_counts=True)
                    same = len(scores)
                    parts.append((scores, np.full(same, label), np.full(same, owner), counts.astype(np.float64)))
        scores, of, owners, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Ranked(scores, of, owners, weights)

    @cached_property
    def whole(self) -> _Ranked:
        """The videos themselves."""
        count = len(self.videos)
        return _Ranked(self._scores, self.labels, np.arange(count), np.ones(count))

    @cached_property
    def flagged(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """For each video: how many normal frames it has (of known label), and how many of them are above the
        threshold."""
        normal, above = np.zeros(len(self.videos)), np.zeros(len(self.videos))
        for i, video in enumerate(self.videos):
            if video.frame_scores is None or (video.label and video.frame_labels is None):
                continue
            scores = video.frame_scores if video.frame_labels is None else video.frame_scores[~video.frame_labels]
            normal[i], above[i] = len(scores), (scores > self._threshold).sum()
        return normal, above

    @cached_property
    def own_areas(self) -> Floats:
        """(videos,): the ROC area of each abnormal video's own frames; NaN where it has none."""
        areas = np.full(len(self.videos), np.nan)
        for i, video in enumerate(self.videos):
            scores, labels = video.frame_scores, video.frame_labels
            if video.label and labels is not None and scores is not None and 0 < labels.sum() < len(labels):
                alone = _Ranked(scores, labels, np.zeros(len(labels), np.intp), np.ones(len(labels)))
                areas[i] = _area(alone.curve(np.ones(1), "frames"))
        return areas


class Draw:
    """The figures of a :class:`Sample` with so many copies of each video."""

    def __init__(self, sample: Sample, copies: Floats) -> None:
        self._sample = sample
        self._copies = copies

    def frame_auc(self) -> float:
        return _area(self._frame_curve)

    def frame_ap(self) -> float:
        return _average_precision(self._frame_curve)

    def frame_eer(self) -> float:
        curve = self._frame_curve
        # Flagged normal ones less unflagged abnormal ones, rises from -1 to 1 along the curve.
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
        return self._sample.whole.curve(self._copies, "videos")


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
    """A figure's value, or why it has none."""

    value: float | None
    reason: str = ""


def figures(
    videos: Sequence[ScoredVideo], *, names: Sequence[str] | None = None, threshold: float = FAR_THRESHOLD
) -> dict[str, Figure]:
    """The figures of one run over ``videos``.

    Args:
        names: of :data:`FIGURES`; all if None.
        threshold: above which a frame is a false alarm.

    Raises:
        ValueError: no video, two of one name, or a name that no figure has.
    """
    draw = Sample(videos, threshold=threshold).drawn()
    return {name: of(draw, name) for name in known(names)}


def of(draw: Draw, name: str) -> Figure:
    """One figure of a draw."""
    try:
        return Figure(FIGURES[name](draw))
    except Undefined as undefined:
        return Figure(None, str(undefined))


@dataclass(frozen=True, slots=True)
class FrameCurve:
    """What each threshold makes of the frames, by falling threshold; all arrays (n,).

    Attributes:
        thresholds: frames with a score at or above it are flagged; the first is inf, nothing is.
        false: share of the normal frames that is flagged.
        true: share of the abnormal ones (recall).
        precision: share of the flagged ones that are abnormal; 1 where nothing is flagged.
    """

    thresholds: Floats
    false: Floats
    true: Floats
    precision: Floats


def frame_curve(videos: Sequence[ScoredVideo]) -> FrameCurve:
    """The ROC and precision-recall curves of all frames together.

    Raises:
        ValueError: no video, or two of one name.
        Undefined: the frames have no curve; one line that says why.
    """
    sample = Sample(videos)
    if reason := sample.without_frames:
        raise Undefined(reason)
    curve = sample.frames.curve(np.ones(len(videos)), "frames")
    found, false = curve.true * curve.abnormal, curve.false * curve.normal
    precision = found[1:] / (found + false)[1:]
    return FrameCurve(sample.frames.thresholds, curve.false, curve.true, np.concatenate([[1.0], precision]))


def known(names: Sequence[str] | None) -> list[str]:
    """``names``, or all figures there are.

    Raises:
        ValueError: a name that no figure has.
    """
    if unknown := sorted(set(names or ()) - set(FIGURES)):
        raise ValueError(f"no figure {unknown[0]!r}: expected {', '.join(FIGURES)}")
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
