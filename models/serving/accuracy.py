"""The cost of a precision in accuracy, measured on validation videos, and the bounds that an export keeps."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.card import Alerting, Comparison, ModelCard, PrecisionCost
from models.serving.engine import Engine
from operators.background import SceneKind, standing_scene
from operators.figures.bootstrap import compare
from operators.figures.videos import ScoredVideo, scored_video
from operators.scores import ClipScore
from operators.smoothing import CausalMovingAverage
from pipeline.manifests.manifest import Video, open_video
from pipeline.windows import ClipWindow, cut

#: Most that a precision may cost, in points (hundredths) of the AUC over videos.
MOST_AUC_POINTS = 0.5
#: Bound of a smoothed score's move where a model's thresholds leave no room between them.
LEAST_BOUND = 0.02


def bound_of_move(alerting: Alerting) -> float:
    """Return the most that a precision may move a smoothed score: half of the room between the two thresholds.

    A score that opened an alert in float32 and moves by less cannot end it at once, and a score that ended one cannot
    open the next. So a smaller move shifts an alert's beginning and end, but does not tear an alert apart.
    """
    return round(max((alerting.open_threshold - alerting.close_threshold) / 2, LEAST_BOUND), 4)


@dataclass(frozen=True, slots=True)
class ValidationClip:
    """A clip of a validation video, with the standing scene that a worker would send."""

    video: int
    pixels: npt.NDArray[np.uint8]
    scene: npt.NDArray[np.uint8] | None


class OnClip(Protocol):
    """Called after each video with the number of videos that are done."""

    def __call__(self, done: int, /) -> object: ...


def validation_clips(videos: Sequence[Video], card: ModelCard, scene: SceneKind | None) -> Iterator[ValidationClip]:
    """Yield the clips of videos as a worker cuts them.

    Args:
        scene: the standing scene that the model reads, if any.

    Raises:
        pipeline.sources.base.SourceError: a video cannot be read.
    """
    spec = card.clip.spec
    for ordinal, video in enumerate(videos):
        standing = None if scene is None else standing_scene(scene)
        frames = open_video(video, threads=1).frames([spec.frame_spec], threading.Event())
        for item in cut(frames, spec):
            if isinstance(item, ClipWindow):
                of = None if standing is None else standing.push(item.segment.id, item.start, item.pixels)
                yield ValidationClip(ordinal, item.pixels, of)


def scores_of(engine: Engine, clip: ValidationClip) -> float:
    """Return the score of one clip."""
    scenes = [clip.scene] if engine.reads_scene else None
    return float(engine.score(clip.pixels[None], scenes).scores[0])


def compare_scores(
    videos: Sequence[Video],
    precise: Sequence[Sequence[float]],
    other: Sequence[Sequence[float]],
    *,
    kernel: int,
) -> Comparison:
    """Compare the clip scores of videos in two precisions.

    Videos of one group and label follow one another as one stream: short videos alone would never fill a kernel.

    Args:
        precise, other: of each video, in order; a video without a clip is left out.

    Raises:
        ValueError: no video has a clip.
    """
    scored = [ordinal for ordinal, scores in enumerate(precise) if len(scores)]
    if not scored:
        raise ValueError("no validation video has a clip")
    moves = []
    for stream in sorted({(videos[i].group, videos[i].label) for i in scored}):
        members = [i for i in scored if (videos[i].group, videos[i].label) == stream]
        first, second = (_smoothed([s for i in members for s in scores[i]], kernel) for scores in (precise, other))
        moves.append(np.abs(first - second))
    move = np.concatenate(moves)
    runs = [[_video(videos[i], i, scores[i]) for i in scored] for scores in (precise, other)]
    first_auc, second_auc = (_auc(run) for run in runs)
    lost: float | None = None
    interval: tuple[float, float] | None = None
    if first_auc is not None and second_auc is not None:
        difference = compare([runs[0]], [runs[1]], names=["video_auc"], by="group")["video_auc"]
        lost = round(100 * (first_auc - second_auc), 4)
        if difference.interval is not None:
            interval = (round(100 * difference.interval.low, 4), round(100 * difference.interval.high, 4))
    return Comparison(
        videos=len(scored),
        clips=sum(len(precise[i]) for i in scored),
        auc_fp32=None if first_auc is None else round(first_auc, 5),
        auc=None if second_auc is None else round(second_auc, 5),
        auc_points_lost=lost,
        auc_points_interval=interval,
        largest_move=round(float(move.max()), 5),
        mean_move=round(float(move.mean()), 5),
    )


def complaint(cost: PrecisionCost) -> str:
    """Return why the accuracy gate refuses a precision, with the figures; empty where it accepts it."""
    problems = []
    if cost.auc_points_lost is None and cost.precision == "int8":
        problems.append(
            "its loss of AUC is unknown, because the videos for the figures have one label alone; add abnormal and "
            "normal videos of further groups"
        )
    if cost.auc_points_lost is not None and cost.auc_points_lost > MOST_AUC_POINTS:
        problems.append(
            f"it loses {cost.auc_points_lost:.2f} points of AUC ({cost.auc_fp32:.4f} to {cost.auc:.4f}); "
            f"expected at most {MOST_AUC_POINTS:g}"
        )
    if cost.largest_move > cost.bound:
        problems.append(
            f"it moves a smoothed score by {cost.largest_move:.3f}; expected at most {cost.bound:g}, half of the room "
            "between the thresholds"
        )
    return "; ".join(problems)


def in_words(cost: PrecisionCost) -> str:
    """Return the figures of an accepted precision in a few words."""
    auc = "AUC not defined" if cost.auc_points_lost is None else f"{cost.auc_points_lost:+.2f} points of AUC lost"
    return (
        f"{cost.precision} on {cost.videos} videos of {cost.validation}: {auc}, smoothed scores moved by at most "
        f"{cost.largest_move:.3f} (bound {cost.bound:g})"
    )


def _smoothed(scores: Sequence[float], kernel: int) -> npt.NDArray[np.float64]:
    average = CausalMovingAverage(kernel, max_hole=0)
    values = []
    for index, score in enumerate(scores):
        found = average.push(ClipScore("validation", "stream", index, index, index + 1, score, "", ""))
        assert found is not None
        values.append(found.value)
    return np.array(values)


def _video(video: Video, ordinal: int, scores: Sequence[float]) -> ScoredVideo:
    return scored_video(f"{ordinal} {video.path}", video.label, scores, group=video.group)


def _auc(run: Sequence[ScoredVideo]) -> float | None:
    """Return the share of pairs of an abnormal and a normal video in which the abnormal one scores higher."""
    abnormal, normal = (np.array([video.score for video in run if video.label == label]) for label in (1, 0))
    if not len(abnormal) or not len(normal):
        return None
    difference = abnormal[:, None] - normal[None, :]
    found = float(((difference > 0) + 0.5 * (difference == 0)).mean())
    return found if math.isfinite(found) else None
