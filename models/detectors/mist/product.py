"""The product of the training job: a folder with everything that serves the model, and judges it.

    encoder.safetensors    the weights of both stages' product; see models.detectors.mist.encoder
    generator.safetensors  those of the generator alone; see models.detectors.mist.generator
    model-card.json        name, data and licence, split, seed, figures with intervals, suggested thresholds
    recipe.yaml            the recipe; `mistwatch train mist --config` reads it
    pseudo-labels.jsonl    with an encoder: the soft labels of every training video's clips, on which it was trained

Calibration and thresholds come from scores of videos that the scoring networks had not seen and that do not belong to
the test: out of fold, or from the validation.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from models.backbones import weights
from models.card import Alerting, write_card
from models.detectors.mist.card import Backbone, MistCard
from models.detectors.mist.encoder import save_encoder
from models.detectors.mist.figures import figures_of
from models.detectors.mist.generator import calibrate, save_generator
from models.detectors.mist.pseudo_labels import LABELS_FILE
from models.detectors.mist.sga import SelfGuidedHeads
from models.jobs.calibration import Calibration, fit_calibration
from models.jobs.thresholds import OperatingPoint, peaks_as_live, point_at, suggest_alerting
from pipeline.manifests.folds import VALIDATION

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
    from models.detectors.mist.encoder_scoring import Network
    from models.detectors.mist.generator import Generator
    from models.detectors.mist.video_scores import Evidence, VideoScores

RECIPE_FILE = "recipe.yaml"

Calibrations = Mapping[str, Calibration]  #: by the names of the stages


@dataclass(frozen=True, slots=True)
class Trained:
    """The networks of a training.

    Attributes:
        encoder: stage 2: the heads, or the whole encoder where the backbone was trained too; None where the generator
            alone was trained.
        labels: file of the pseudo labels that the encoder was trained on.
    """

    generator: Generator
    encoder: Network | None = None
    labels: Path | None = None

    @property
    def stage(self) -> str:
        """The name of the stage that is the product."""
        return "stage_1" if self.encoder is None else "stage_2"


def write_product(
    folder: Path, config: MistConfig, trained: Trained, evidence: Evidence, training: Mapping[str, Any]
) -> MistCard:
    """Write the product.

    Args:
        trained: the networks. The one of the last stage is calibrated here.
        evidence: scores by which it is calibrated and judged.
        training: the card's part about the training. Its ``groups`` were learned from, its ``validation_groups`` used
            for choices: no group of either counts as held out, even if the test has videos of it.

    Raises:
        pipeline.sources.base.SourceError: the frames of a test video cannot be counted.
        OSError: the folder cannot be written.
    """
    stages = ("stage_1",) if trained.encoder is None else ("stage_1", "stage_2")
    calibrations: Calibrations = dict.fromkeys(stages, Calibration())
    if config.calibrate and evidence.unseen:
        calibrations = _fitted(evidence.unseen)
    own = calibrations[trained.stage]
    alerting, point = _alerting(config, evidence.unseen, trained.stage, own)
    figures = _figures(config, evidence, calibrations)
    if point is not None:
        figures["out_of_fold" if evidence.folds else "validation"][trained.stage] |= _reached(point)
    if evidence.test:
        figures["test"][trained.stage] |= _reached(_point(alerting, evidence.test, trained.stage, own))
    if trained.labels is not None:
        shutil.copyfile(trained.labels, folder / LABELS_FILE)
    recipe = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / RECIPE_FILE).write_text(recipe, encoding="utf-8")
    known = {*training["groups"], *training["validation_groups"]}
    card = MistCard(
        name=config.name,
        description=config.description,
        **_network(folder, config, trained, own),
        contrast=config.contrast,
        clip=config.clip,
        alerting=alerting,
        training={**training, **_calibration_of_the_weights(trained, own)},
        figures=figures,
        held_out_sources=sorted({scores.group for scores in evidence.test} - known),
        sees=config.sees,
        does_not_see=config.does_not_see,
    )
    write_card(card, folder)
    return card


def _calibration_of_the_weights(trained: Trained, calibration: Calibration) -> dict[str, Any]:
    """Return the calibration that went into a generator's weights; an encoder's is part of its architecture."""
    if trained.encoder is not None:
        return {}
    return {"calibration": {"slope": round(calibration.slope, 6), "shift": round(calibration.shift, 6)}}


def _network(folder: Path, config: MistConfig, trained: Trained, calibration: Calibration) -> dict[str, Any]:
    """Calibrate the network of the last stage, write its weights, and return the card's part about it."""
    backbone: dict[str, Any] = {
        "name": config.backbone,
        "tensors_sha256": weights.published(config.backbone).tensors_sha256,
    }
    if trained.encoder is None:
        calibrate(trained.generator, calibration.slope, calibration.shift)
        return {
            "architecture": trained.generator.architecture,
            "backbone": Backbone(**backbone, layers=config.layers),
            "weights_sha256": save_generator(trained.generator, folder),
        }
    heads = trained.encoder if isinstance(trained.encoder, SelfGuidedHeads) else trained.encoder.heads
    heads.calibration = (calibration.slope, calibration.shift)
    return {
        "architecture": heads.architecture(fine_tuned=trained.encoder is not heads),
        "backbone": Backbone(**backbone),
        "weights_sha256": save_encoder(trained.encoder, folder),
    }


def _fitted(unseen: Sequence[VideoScores]) -> Calibrations:
    """Fit a calibration for each stage.

    A generator alone is calibrated on the clips as the training cuts them: as cut live, a short video has few.
    """
    labels = [scores.video.label for scores in unseen]
    logits = {stage: [scores.stages[stage] for scores in unseen] for stage in unseen[0].stages}
    overlapping = [scores.overlapping for scores in unseen if scores.overlapping is not None]
    if overlapping:
        logits["stage_1"] = overlapping
    return {stage: fit_calibration(values, labels) for stage, values in logits.items()}


def _figures(config: MistConfig, evidence: Evidence, calibrations: Calibrations) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if evidence.folds:
        own = [_fitted(run) for run in evidence.folds]
        figures["out_of_fold"] = {
            "folds": config.folds,
            "seeds": len(evidence.folds),
            **figures_of(evidence.folds, own, draws=config.draws, probe=evidence.probe),
        }
    if evidence.validation:
        chosen_by = config.encoder is not None and config.encoder.select == VALIDATION
        figures["validation"] = figures_of(
            [evidence.validation], [calibrations], draws=config.draws, chosen_by=chosen_by
        )
    if evidence.test:
        figures["test"] = figures_of([evidence.test], [calibrations], draws=config.draws)
    return figures


def _alerting(
    config: MistConfig, unseen: Sequence[VideoScores], stage: str, calibration: Calibration
) -> tuple[Alerting, OperatingPoint | None]:
    """Return kernel and thresholds, and their effect on the unseen videos, if there are any."""
    if (chosen := config.alerting.chosen) is not None:
        return chosen, _point(chosen, unseen, stage, calibration) if unseen else None
    live = [calibration(scores.stages[stage]) for scores in unseen]
    labels, groups = [scores.video.label for scores in unseen], [scores.group for scores in unseen]
    return suggest_alerting(live, labels, groups, **config.alerting.model_dump(exclude={"chosen"}))


def _point(alerting: Alerting, videos: Sequence[VideoScores], stage: str, calibration: Calibration) -> OperatingPoint:
    """Return the effect of the open threshold on videos."""
    live = [calibration(scores.stages[stage]) for scores in videos]
    labels, groups = [scores.video.label for scores in videos], [scores.group for scores in videos]
    peaks = peaks_as_live(live, labels, groups, alerting.kernel)
    return point_at(peaks, labels, alerting.kernel, alerting.open_threshold)


def _reached(point: OperatingPoint) -> dict[str, float]:
    return {
        "recall_at_open_threshold": round(point.recall, 4),
        "false_alarms_at_open_threshold": round(point.false_alarms, 4),
    }
