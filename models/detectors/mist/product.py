"""The product of the training job: a folder with all that is needed to serve the model, and to judge it.

    encoder.safetensors    the weights; see models.detectors.mist.encoder
    model-card.json        what it is, its data and licence, split, seed, figures with intervals, suggested thresholds
    recipe.yaml            how it was trained; `mistwatch train mist --config` takes it
    pseudo-labels.jsonl    what stage 2 was trained on: the soft labels of every training video's clips

Calibration and thresholds come from scores of videos that the scoring networks had not seen and that are not the
test's: out of fold, or of the validation.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from models.backbones import weights
from models.card import Alerting, ModelCard, write_card
from models.detectors.mist.card import Backbone, MistCard
from models.detectors.mist.config import MistConfig
from models.detectors.mist.encoder import AttentionEncoder, save_encoder
from models.detectors.mist.footage import ClipTimes, judged
from models.detectors.mist.generator_training import TrainingError
from models.detectors.mist.sga import SelfGuidedHeads
from models.jobs.thresholds import (
    Calibration,
    ClipScores,
    OperatingPoint,
    fit_calibration,
    peaks_as_live,
    point_at,
    suggest_alerting,
)
from operators.figures.bootstrap import Run, compare, estimate
from operators.figures.ranked import FIGURES
from operators.figures.videos import ScoredVideo
from pipeline.manifests.folds import VALIDATION
from pipeline.manifests.manifest import Video

LABELS_FILE = "pseudo-labels.jsonl"
RECIPE_FILE = "recipe.yaml"

#: The heads' scores as they are.
_AS_THEY_ARE = Calibration(1.0, 0.0)

#: Figures of videos as a whole, which need no frames.
_VIDEO_FIGURES = tuple(name for name in FIGURES if name.startswith("video_"))


@dataclass(frozen=True, slots=True)
class VideoScores:
    """What both stages say of one video's n clips, cut as live.

    Attributes:
        name: unlike any other video's.
        video: the video.
        stage_1, stage_2: float32 (n,), logits; of stage 2 the difference of the weighted head's two.
        times: of the clips.

    Raises:
        TrainingError: scores that are no numbers.
    """

    name: str
    video: Video
    stage_1: ClipScores
    stage_2: ClipScores
    times: ClipTimes

    def __post_init__(self) -> None:
        for name, logits in (("1", self.stage_1), ("2", self.stage_2)):
            if not np.isfinite(logits).all():
                raise TrainingError(
                    f"{self.name}: stage {name} gives scores that are no numbers: its weights are too large; lower its "
                    "learning rate"
                )

    @property
    def group(self) -> str:
        """What it has in common with others; its own name where that is nothing."""
        return self.name if self.video.group == str(self.video.path) else self.video.group

    def row(self) -> dict[str, Any]:
        """As JSON can hold it; :meth:`of` reads it again, to the last bit."""
        return {
            "video": self.name,
            "label": self.video.label,
            "stage_1": [float(value) for value in self.stage_1],
            "stage_2": [float(value) for value in self.stage_2],
            "starts": [float(value) for value in self.times.starts],
            "ends": [float(value) for value in self.times.ends],
            "segments": [int(value) for value in self.times.segments],
        }

    @classmethod
    def of(cls, row: Mapping[str, Any], videos: Mapping[str, Video]) -> VideoScores:
        """Read a row; ``videos`` by their names."""
        return cls(
            row["video"],
            videos[row["video"]],
            np.array(row["stage_1"], np.float32),
            np.array(row["stage_2"], np.float32),
            ClipTimes(
                np.array(row["starts"], np.float64),
                np.array(row["ends"], np.float64),
                # A run that was begun before the segments were kept goes on.
                np.array(row.get("segments", [0] * len(row["starts"])), np.int64),
            ),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """By what the product is judged.

    Attributes:
        folds: for each seed the scores of all videos but the test's, each by networks that had not seen it.
        validation: scores of the validation's videos by the product's own networks. Where the recipe selects by
            validation they chose the epoch of stage 2: its figures on them flatter it, and stage 1 had no such choice.
        test: scores of the test's videos.
        probe: out of fold, for each video that ``folds`` has, a linear probe's decision value; the baseline.
    """

    folds: Sequence[Sequence[VideoScores]] = ()
    validation: Sequence[VideoScores] = ()
    test: Sequence[VideoScores] = ()
    probe: Mapping[str, float] | None = None

    @property
    def unseen(self) -> Sequence[VideoScores]:
        """What calibration and thresholds are chosen on."""
        return self.folds[0] if self.folds else self.validation


def write_product(
    folder: Path,
    config: MistConfig,
    network: SelfGuidedHeads | AttentionEncoder,
    labels: Path,
    evidence: Evidence,
    training: Mapping[str, Any],
) -> ModelCard:
    """Write the product.

    Args:
        folder: where; it is there.
        config: the recipe.
        network: the heads, or the whole encoder where the backbone was trained too. They are calibrated here.
        labels: the file of the pseudo labels.
        evidence: scores by which it is calibrated and judged.
        training: what the card says of the training, beside the recipe: its ``groups`` were learned from, and its
            ``validation_groups`` chosen by. No group of either is held out, even if the test has videos of it.

    Raises:
        pipeline.sources.base.SourceError: the frames of a test video cannot be counted.
        OSError: the folder cannot be written.
    """
    known = {*training["groups"], *training["validation_groups"]}
    calibrations = dict.fromkeys(("stage_1", "stage_2"), _AS_THEY_ARE)
    if config.calibrate and evidence.unseen:
        calibrations = {stage: _calibration(stage, evidence.unseen) for stage in calibrations}
    heads = network if isinstance(network, SelfGuidedHeads) else network.heads
    heads.calibration = (calibrations["stage_2"].slope, calibrations["stage_2"].shift)
    alerting, point = _alerting(config, evidence.unseen, calibrations["stage_2"])
    figures: dict[str, Any] = {}
    if evidence.folds:
        seeds = len(evidence.folds)
        own = [{stage: _calibration(stage, run) for stage in calibrations} for run in evidence.folds]
        figures["out_of_fold"] = {
            "folds": config.folds,
            "seeds": seeds,
            **_figures(evidence.folds, own, config, evidence.probe),
        }
    if evidence.validation:
        chosen_by = config.encoder.select == VALIDATION
        figures["validation"] = _figures([evidence.validation], [calibrations], config, chosen_by=chosen_by)
    if evidence.test:
        figures["test"] = _figures([evidence.test], [calibrations], config)
    if point is not None:
        figures["out_of_fold" if evidence.folds else "validation"]["stage_2"] |= {
            "recall_at_open_threshold": round(point.recall, 4),
            "false_alarms_at_open_threshold": round(point.false_alarms, 4),
        }
    shutil.copyfile(labels, folder / LABELS_FILE)
    recipe = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / RECIPE_FILE).write_text(recipe, encoding="utf-8")
    card = MistCard(
        name=config.name,
        description=config.description,
        architecture=heads.architecture(fine_tuned=network is not heads),
        backbone=Backbone(name=config.backbone, tensors_sha256=weights.published(config.backbone).tensors_sha256),
        weights_sha256=save_encoder(network, folder),
        clip=config.clip,
        alerting=alerting,
        training=dict(training),
        figures=figures,
        held_out_sources=sorted({scores.group for scores in evidence.test} - known),
        sees=config.sees,
        does_not_see=config.does_not_see,
    )
    write_card(card, folder)
    return card


def _calibration(stage: str, unseen: Sequence[VideoScores]) -> Calibration:
    return fit_calibration([getattr(scores, stage) for scores in unseen], [scores.video.label for scores in unseen])


def _alerting(
    config: MistConfig, unseen: Sequence[VideoScores], calibration: Calibration
) -> tuple[Alerting, OperatingPoint | None]:
    """Kernel and thresholds, and what they do to the unseen videos, where there are any."""
    live = [calibration(scores.stage_2) for scores in unseen]
    labels, groups = [scores.video.label for scores in unseen], [scores.group for scores in unseen]
    chosen = config.alerting.chosen
    if chosen is None:
        return suggest_alerting(live, labels, groups, **config.alerting.model_dump(exclude={"chosen"}))
    if not unseen:
        return chosen, None
    peaks = peaks_as_live(live, labels, groups, chosen.kernel)
    return chosen, point_at(peaks, labels, chosen.kernel, chosen.open_threshold)


def _figures(
    runs: Sequence[Sequence[VideoScores]],
    calibrations: Sequence[Mapping[str, Calibration]],
    config: MistConfig,
    probe: Mapping[str, float] | None = None,
    *,
    chosen_by: bool = False,
) -> dict[str, Any]:
    """Figures of both stages over the same videos, with 95 % intervals, and by how much stage 2 is better; not that
    where the videos have chosen stage 2's epoch (``chosen_by``)."""
    stages = {
        stage: [
            [judged(s.name, s.group, s.video, calibration[stage](getattr(s, stage)), s.times) for s in run]
            for run, calibration in zip(runs, calibrations, strict=True)
        ]
        for stage in ("stage_1", "stage_2")
    }
    videos = stages["stage_2"][0]
    names = None if any(video.frame_labels is not None and video.label for video in videos) else _VIDEO_FIGURES
    found: dict[str, Any] = {
        "videos": len(videos),
        "abnormal_videos": sum(video.label for video in videos),
        "groups": len({video.group for video in videos}),
        **{stage: _estimates(run, names, config.draws) for stage, run in stages.items()},
    }
    if chosen_by:
        found["chosen_by"] = True
    else:
        better = compare(stages["stage_2"], stages["stage_1"], names=names, draws=config.draws)
        found["stage_2_less_stage_1"] = {name: difference.summary() for name, difference in better.items()}
    if probe is not None:
        baseline = [ScoredVideo(s.name, s.video.label, probe[s.name], group=s.group) for s in runs[0]]
        found["linear_probe"] = _estimates([baseline], ("video_auc",), config.draws)
    return found


def _estimates(runs: Sequence[Run], names: Sequence[str] | None, draws: int) -> dict[str, Any]:
    return {name: figure.summary() for name, figure in estimate(runs, names=names, draws=draws).items()}
