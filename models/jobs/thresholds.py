"""How good a recipe is, and which thresholds suit it: always on videos whose group the scoring weights never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.card import Alerting
from models.detectors.mist.generator_training import Bag, Recipe, TrainingError, clip_logits, train_generator
from operators.scores import ClipScore
from operators.smoothing import CausalMovingAverage

ClipScores = npt.NDArray[np.float32]  #: (n,), one video's scores or logits


def out_of_fold_logits(
    bags: Sequence[Bag],
    folds: Sequence[Sequence[int]],
    recipe: Recipe,
    seed: int,
    *,
    progress: Callable[[], None] = lambda: None,
) -> list[ClipScores]:
    """The clip logits of every video, by a generator trained on the other folds.

    Args:
        bags: all videos.
        folds: ordinals of the videos of each fold.
        recipe, seed: of every training.
        progress: called after each of them.

    Raises:
        TrainingError: without one fold, only one label is left.
    """
    logits: dict[int, ClipScores] = {}
    for fold in folds:
        held = set(fold)
        generator = train_generator([bag for i, bag in enumerate(bags) if i not in held], recipe, seed)
        logits |= {i: clip_logits(generator, bags[i].features) for i in fold}
        progress()
    return [logits[i] for i in range(len(bags))]


@dataclass(frozen=True, slots=True)
class Calibration:
    """From the logit z of a generator to slope · z + shift, whose sigmoid can be read as a probability."""

    slope: float
    shift: float

    def __call__(self, logits: ClipScores) -> ClipScores:
        """Logits (n,) → scores in [0, 1], (n,)."""
        scores: ClipScores = (1 / (1 + np.exp(-(self.slope * logits.astype(np.float64) + self.shift)))).astype(
            np.float32
        )
        return scores


def fit_calibration(logits: Sequence[ClipScores], labels: Sequence[int]) -> Calibration:
    """Platt's scaling on out-of-fold logits: the share of abnormal videos among clips with such a logit.

    The hinge of the ranking loss drives scores to 0 and 1, where a threshold finds nothing to tell apart. Every video
    weighs the same, however many clips it has. Where a higher logit does not mean an abnormal video more often, the
    logits stay as they are.
    """
    weights = np.concatenate([np.full(len(video), 1 / len(video)) for video in logits])
    targets = np.concatenate([np.full(len(video), label) for video, label in zip(logits, labels, strict=True)])
    values = np.concatenate(logits).astype(np.float64)[:, None]
    scale = float(values.std()) or 1.0
    fitted = LogisticRegression(C=1e6).fit(values / scale, targets, sample_weight=weights)
    slope = float(fitted.coef_[0, 0]) / scale
    return Calibration(slope, float(fitted.intercept_[0])) if slope > 0 else Calibration(1.0, 0.0)


def video_auc(labels: Sequence[int], scores: Sequence[ClipScores]) -> float:
    """Area under the ROC curve of the videos' mean clip scores; 0.5 is chance.

    Raises:
        TrainingError: only one label among the videos.
    """
    if len(set(labels)) < 2:
        raise TrainingError("a ROC curve needs normal and abnormal videos")
    return float(roc_auc_score(labels, [float(np.mean(video)) for video in scores]))


def probe_scores(
    bags: Sequence[Bag], folds: Sequence[Sequence[int]], *, inverse_strength: float = 0.01
) -> npt.NDArray[np.float64]:
    """The baseline: logistic regression on the videos' mean features, standardised, each fold by the others.

    Returns:
        (videos,), decision values out of fold.
    """
    means = np.stack([bag.features.mean(0) for bag in bags])
    labels = np.array([bag.label for bag in bags])
    scores = np.zeros(len(bags))
    for fold in folds:
        train = np.setdiff1d(np.arange(len(bags)), fold)
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_strength, max_iter=2000))
        scores[list(fold)] = probe.fit(means[train], labels[train]).decision_function(means[list(fold)])
    return scores


def smoothed_as_live(scores: npt.ArrayLike, kernel: int) -> npt.NDArray[np.float64]:
    """The causal moving average of one stream's clip scores, by the operator that runs live."""
    average = CausalMovingAverage(kernel, max_hole=0)
    values = []
    for index, score in enumerate(np.asarray(scores, dtype=np.float64)):
        smoothed = average.push(ClipScore("evaluation", "stream", index, index, index + 1, float(score), "", ""))
        assert smoothed is not None
        values.append(smoothed.value)
    return np.array(values)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold on the smoothed score does to videos that the model had not seen."""

    kernel: int
    threshold: float
    recall: float  #: share of the abnormal videos that reach it
    false_alarms: float  #: share of the normal videos that reach it


def peaks_as_live(
    scores: Sequence[ClipScores], labels: Sequence[int], groups: Sequence[str], kernel: int
) -> npt.NDArray[np.float64]:
    """Each video's highest smoothed score, (videos,).

    Videos of one group and label are shown one after the other, as one stream: short videos alone would never fill a
    kernel.
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
    """The lowest threshold, in hundredths, that at most this share of the normal videos reaches.

    Where there is none it is 0.99, and the point's own share tells how many reach that.
    """
    normal = peaks[np.array(labels) == 0]
    thresholds = [hundredths / 100 for hundredths in range(1, 100)]
    chosen = next((t for t in thresholds if (normal >= t).mean() <= false_alarms), thresholds[-1])
    return point_at(peaks, labels, kernel, chosen)


def point_at(peaks: npt.NDArray[np.float64], labels: Sequence[int], kernel: int, threshold: float) -> OperatingPoint:
    """What ``threshold`` does to videos with such ``peaks``."""
    reached, abnormal = peaks >= threshold, np.array(labels) == 1
    return OperatingPoint(kernel, threshold, float(reached[abnormal].mean()), float(reached[~abnormal].mean()))


def usable_kernels(kernels: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """Those that are no longer than the median video: a longer one would be judged by several videos at once.

    Args:
        kernels: clips.
        lengths: of the videos that they are judged by, in clips as cut live.

    Raises:
        TrainingError: there is none.
    """
    longest = max(1, int(np.median(lengths)))
    if not (usable := [kernel for kernel in kernels if kernel <= longest]):
        raise TrainingError(
            f"alerting.kernels {', '.join(map(str, kernels))}: each is longer than the videos, whose median has "
            f"{longest} clips as they are cut live; add a shorter one, or say alerting.chosen"
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
    """Kernel and thresholds from out-of-fold scores, cut as live.

    An alert opens where at most ``open_false_alarms`` of the normal videos would raise one, and stays open while the
    score is one that at most ``close_false_alarms`` of them reach. Where videos are few, or the normal ones were picked
    to resemble the abnormal ones, less than the defaults' 8 % would be an estimate from a handful. Of the kernels the
    one with the highest recall is taken, the shorter of equals.

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
