"""The figures by which a model of video anomalies is judged, computed by scikit-learn.

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
reason. How far a figure would move with other videos is :mod:`pipeline.evaluation.bootstrap`'s business.
"""  # noqa: E501  (a table)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.videos import ScoredVideo

#: A frame with a higher score counts as flagged where a false-alarm rate is asked for; the papers' value.
FAR_THRESHOLD = 0.5
#: Shares of the normal ones that may be flagged, per cent.
FALSE_POSITIVES = (1, 2, 5)

Floats = npt.NDArray[np.float64]


class Undefined(Exception):
    """The videos do not have this figure. One line that says why."""


class _Rows(NamedTuple):
    """Scored things; equal ones of one video are a single row, weighted by their number."""

    scores: Floats
    labels: npt.NDArray[np.bool_]
    owners: npt.NDArray[np.intp]  #: ordinal of the video
    weights: Floats


class _Curve(NamedTuple):
    """A ROC curve: shares of the normal and of the abnormal ones that are flagged, by falling threshold."""

    false: Floats
    true: Floats


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
        self._labels = np.array([video.label for video in videos]) == 1
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
    def frames(self) -> _Rows:
        """All frames with a score; those of unknown label count as normal."""
        # Clip scores are repeated over their frames, so this is a sixteenth of them, and so is the time of a bootstrap.
        parts = []
        for owner, video in enumerate(self.videos):
            if video.frame_scores is not None:
                known = video.frame_labels
                labels = np.zeros(len(video.frame_scores), np.bool_) if known is None else known
                for label in (False, True):
                    scores, counts = np.unique(video.frame_scores[labels == label], return_counts=True)
                    same = len(scores)
                    parts.append(_Rows(scores, np.full(same, label), np.full(same, owner), counts.astype(np.float64)))
        return _Rows(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.owners for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )

    @cached_property
    def whole(self) -> _Rows:
        """The videos themselves."""
        count = len(self.videos)
        return _Rows(self._scores, self._labels, np.arange(count), np.ones(count))

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
        from sklearn.metrics import roc_auc_score

        areas = np.full(len(self.videos), np.nan)
        for i, video in enumerate(self.videos):
            labels = video.frame_labels
            if video.label and labels is not None and 0 < labels.sum() < len(labels):
                areas[i] = roc_auc_score(labels, video.frame_scores)
        return areas


class Draw:
    """The figures of a :class:`Sample` with so many copies of each video."""

    def __init__(self, sample: Sample, copies: Floats) -> None:
        self._sample = sample
        self._copies = copies

    def frame_auc(self) -> float:
        return _area(self._frame_curve)

    def frame_ap(self) -> float:
        return _average_precision(self._frames)

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
        return _average_precision(self._whole)

    def video_recall(self, false_positives: float) -> float:
        return _recall(self._video_curve, false_positives)

    def _far(self, label: int, reason: str) -> float:
        normal, above = self._sample.flagged
        copies = self._copies * (self._sample.whole.labels == label)
        frames = float((copies * normal).sum())
        if not frames:
            raise Undefined(reason)
        return float((copies * above).sum()) / frames

    @cached_property
    def _frames(self) -> _Rows:
        if reason := self._sample.without_frames:
            raise Undefined(reason)
        return self._of(self._sample.frames, "frames")

    @cached_property
    def _whole(self) -> _Rows:
        return self._of(self._sample.whole, "videos")

    @cached_property
    def _frame_curve(self) -> _Curve:
        return _curve(self._frames)

    @cached_property
    def _video_curve(self) -> _Curve:
        return _curve(self._whole)

    def _of(self, rows: _Rows, what: str) -> _Rows:
        """The rows as drawn.

        Raises:
            Undefined: only one of the classes is left.
        """
        weights = rows.weights * self._copies[rows.owners]
        there = weights > 0
        rows = _Rows(rows.scores[there], rows.labels[there], rows.owners[there], weights[there])
        if not rows.labels.any() or rows.labels.all():
            raise Undefined(f"a curve needs normal and abnormal {what}, and there are no {_missing(rows)} ones")
        return rows


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


def known(names: Sequence[str] | None) -> list[str]:
    """``names``, or all figures there are.

    Raises:
        ValueError: a name that no figure has.
    """
    if unknown := sorted(set(names or ()) - set(FIGURES)):
        raise ValueError(f"no figure {unknown[0]!r}: expected {', '.join(FIGURES)}")
    return list(FIGURES if names is None else names)


def _curve(rows: _Rows) -> _Curve:
    from sklearn.metrics import roc_curve

    # All thresholds: one that lies on a straight line between two others may be the last that is allowed.
    false, true, _ = roc_curve(rows.labels, rows.scores, sample_weight=rows.weights, drop_intermediate=False)
    return _Curve(false, true)


def _area(curve: _Curve) -> float:
    from sklearn.metrics import auc

    return float(auc(curve.false, curve.true))


def _recall(curve: _Curve, false_positives: float) -> float:
    return float(curve.true[curve.false <= false_positives].max())


def _average_precision(rows: _Rows) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(rows.labels, rows.scores, sample_weight=rows.weights))


def _missing(rows: _Rows) -> str:
    return "normal" if rows.labels.any() else "abnormal"
