"""The training job of the generator: a manifest in; weights and a model card with honest figures out.

Videos whose ``split`` is ``test`` are held out of everything but the last figure. All others are trained on; what the
card says of thresholds and quality comes from folds of them by group, each scored by a generator that saw the others.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from models.backbones import weights
from models.backbones.layers import Layers
from models.card import Alerting, Clip, ModelCard, ModelName, write_card
from models.data.features import FeatureStore
from models.data.video_store import FeaturesError
from models.detectors.mist.card import Backbone, MistCard
from models.detectors.mist.generator import Generator, calibrate, save_generator
from models.detectors.mist.generator_training import Bag, Recipe, TrainingError, clip_scores, train_generator
from models.jobs.thresholds import (
    ClipScores,
    fit_calibration,
    out_of_fold_logits,
    peaks_as_live,
    point_at,
    probe_scores,
    suggest_alerting,
    usable_kernels,
    video_auc,
)
from pipeline.errors import MistwatchError
from pipeline.manifests.folds import group_folds
from pipeline.manifests.manifest import Video, manifest_digest
from pipeline.sources.base import SourceError
from pipeline.sources.recordings import open_recording
from pipeline.windows import ClipSpec

HELD_OUT_SPLIT = "test"

#: Found on the fights (videos of about five overlapping clips); a step costs little, so it is also the default.
SHORT_VIDEOS = Recipe(
    name="short-videos",
    loss="reference",
    top_k=2,
    sub_bags=4,
    sub_bag_clips=2,
    unit_length=True,
    standardise=True,
    epochs=10,
    members=4,
    batch=40,
)

Progress = Callable[[str, int, int], None]  #: (stage, done, total)


class AlertingChoice(BaseModel):
    """How the card's suggestion is picked on out-of-fold scores, see :func:`suggest_alerting`.

    Attributes:
        kernels: those tried.
        open_false_alarms, close_false_alarms: the share of the normal videos that may reach the two thresholds.
        chosen: kernel and thresholds that were found otherwise, on footage like the live one that no training saw; the
            rest is then not looked at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernels: tuple[PositiveInt, ...] = Field((1, 3, 5, 7), min_length=1)
    open_false_alarms: float = Field(0.08, ge=0, lt=1)
    close_false_alarms: float = Field(0.2, ge=0, lt=1)
    chosen: Alerting | None = None

    @model_validator(mode="after")
    def _ordered(self) -> AlertingChoice:
        if self.close_false_alarms < self.open_false_alarms:
            raise ValueError(
                f"close_false_alarms {self.close_false_alarms:g} must not be below open_false_alarms "
                f"{self.open_false_alarms:g}, or an alert would end at a higher score than it began"
            )
        return self


class JobConfig(BaseModel):
    """What a training run is told beside the manifest; a YAML file under ``configs/``.

    Attributes:
        name, description, data, sees, does_not_see: for the model card.
        clip: the clips; ``clip.stride`` is how they are cut live.
        training_stride: how they are cut for training; overlapping, as short videos have few.
        mirrored: train on the videos' mirror images too.
        backbone: name of published weights.
        layers: of the backbone, whose pooled maps are the features.
        recipe: of the training.
        seeds: how many seeds the figures are taken over.
        alerting: how kernel and thresholds are picked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName = "generator"
    description: str = "MIST's pseudo-label generator on I3D features"
    data: dict[str, str] = {}
    sees: list[str] = []
    does_not_see: list[str] = []
    clip: Clip = Clip.of(ClipSpec())
    training_stride: int = Field(8, ge=1)
    mirrored: bool = False
    backbone: str = "i3d-kinetics400"
    layers: Layers = ("mixed_5c",)
    recipe: Recipe = SHORT_VIDEOS
    seeds: int = Field(5, ge=1)
    alerting: AlertingChoice = AlertingChoice()

    @property
    def training_clip(self) -> ClipSpec:
        live = self.clip.spec
        return ClipSpec(live.frames, self.training_stride, live.height, live.width, live.fit, live.fps)


class ConfigError(MistwatchError):
    """A training configuration cannot be used. A line for each problem, naming file and key."""


def read_config(file: Path) -> JobConfig:
    """Read a training configuration.

    Raises:
        ConfigError: it cannot be read, is no YAML, or says something that it cannot.
    """
    try:
        return JobConfig.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Videos with their features.

    Attributes:
        skipped: videos too short for a single clip.
        damaged: those of ``videos`` of which not all could be decoded, and what, a line each.
    """

    videos: list[Video]
    bags: list[Bag]
    skipped: list[Video]
    damaged: dict[Path, str] = field(default_factory=dict)

    def part(self, chosen: Sequence[int]) -> Dataset:
        return Dataset([self.videos[i] for i in chosen], [self.bags[i] for i in chosen], [])

    @property
    def labels(self) -> list[int]:
        return [video.label for video in self.videos]

    @property
    def groups(self) -> list[str]:
        return [video.group for video in self.videos]


def open_stores(config: JobConfig) -> list[FeatureStore]:
    """Where the features come from: of the videos, and of their mirror images if they are wanted."""
    kinds = (False, True) if config.mirrored else (False,)
    return [
        FeatureStore(config.training_clip, backbone=config.backbone, layers=config.layers, mirrored=mirrored)
        for mirrored in kinds
    ]


def load_dataset(
    videos: Sequence[Video], stores: Sequence[FeatureStore], *, progress: Progress = lambda *_: None
) -> Dataset:
    """The features of all videos, from the cache or computed.

    Args:
        videos: of a manifest.
        stores: of the videos' features and, if there is a second one, of their mirror images'.
        progress: told of every video.

    Raises:
        FeaturesError: some cannot be opened (a line each, before anything is computed), or cannot be decoded.
    """
    problems = []
    for video in videos:
        try:
            open_recording(video.path, fps=video.fps).check()
        except SourceError as error:
            problems.append(str(error))
    if problems:
        raise FeaturesError("\n".join(problems))
    for before, store in enumerate(stores):

        def filled(done: int, total: int, before: int = before) -> None:
            progress("features", (before * total + done) // len(stores), total)

        if failed := store.fill(videos, progress=filled):
            raise FeaturesError("\n".join(map(str, failed.values())))
    dataset = Dataset([], [], [])
    for video in videos:
        features, *mirrored = (store.of(video) for store in stores)
        if len(features):
            dataset.videos.append(video)
            dataset.bags.append(Bag(features.values, video.label, *(seen.values for seen in mirrored)))
            if features.damage:
                dataset.damaged[video.path] = f"{video.path}: {features.damage}"
        else:
            dataset.skipped.append(video)
    return dataset


def train_job(
    videos: Sequence[Video],
    config: JobConfig,
    out: Path,
    *,
    folds: int = 5,
    seed: int = 0,
    stores: Sequence[FeatureStore] | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[ModelCard, Dataset]:
    """Train, measure, and write ``generator.safetensors`` and ``model-card.json`` into the folder ``out``.

    Args:
        videos: of a manifest.
        config: how.
        out: made if it is not there.
        folds: number of folds of the figures.
        seed: of the folds and of the final training; the figures take ``config.seeds`` seeds from it on.
        stores: where features come from, see :func:`load_dataset`; :func:`open_stores` if None.
        progress: told of every step.

    Raises:
        TrainingError: videos of one label only, too few groups for the folds, or videos too short for every kernel.
        FeaturesError, models.backbones.weights.WeightsError: features cannot be had.
        OSError: ``out`` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(videos, stores or open_stores(config), progress=progress)
    held_out = [i for i, video in enumerate(dataset.videos) if video.split == HELD_OUT_SPLIT]
    train = dataset.part([i for i in range(len(dataset.videos)) if i not in set(held_out)])
    test = dataset.part(held_out)
    if shared := set(train.groups) & set(test.groups):
        raise TrainingError(
            f"groups must not be divided between split {HELD_OUT_SPLIT} and the rest: {', '.join(sorted(shared))}"
        )

    thinning = max(1, config.clip.stride // config.training_stride)  # of the overlapping clips these are cut live
    if config.alerting.chosen is None:
        usable_kernels(config.alerting.kernels, [-(-len(bag.features) // thinning) for bag in train.bags])
    figures, logits = fold_figures(train, config.recipe, folds=folds, seed=seed, seeds=config.seeds, progress=progress)
    calibration = fit_calibration(logits[0], train.labels)
    live = [calibration(video[::thinning]) for video in logits[0]]
    if config.alerting.chosen is not None:
        alerting = config.alerting.chosen
        peaks = peaks_as_live(live, train.labels, train.groups, alerting.kernel)
        point = point_at(peaks, train.labels, alerting.kernel, alerting.open_threshold)
    else:
        shares = config.alerting.model_dump(exclude={"chosen"})
        alerting, point = suggest_alerting(live, train.labels, train.groups, **shares)

    def epoch(done: int) -> None:
        progress("training", done, config.recipe.epochs * config.recipe.members)

    generator = train_generator(train.bags, config.recipe, seed, progress=epoch)
    calibrate(generator, calibration.slope, calibration.shift)
    all_figures: dict[str, Any] = {
        "out_of_fold": figures
        | {
            "recall_at_open_threshold": round(point.recall, 4),
            "false_alarms_at_open_threshold": round(point.false_alarms, 4),
        }
    }
    if test.videos:
        all_figures["held_out"] = held_out_figures(generator, test, alerting, thinning)
    card = MistCard(
        name=config.name,
        description=config.description,
        architecture=generator.architecture,
        backbone=Backbone(
            name=config.backbone,
            tensors_sha256=weights.published(config.backbone).tensors_sha256,
            layers=config.layers,
        ),
        weights_sha256=save_generator(generator, out),
        clip=config.clip,
        alerting=alerting,
        training={
            "data": config.data,
            "manifest_sha256": manifest_digest(videos),
            "videos": len(train.videos),
            "abnormal_videos": sum(train.labels),
            "groups": sorted(set(train.groups)),
            "skipped_as_too_short": [video.path.name for video in dataset.skipped],
            "damaged": [path.name for path in dataset.damaged],
            "clip_stride": config.training_stride,
            "mirrored": config.mirrored,
            "recipe": config.recipe.model_dump(mode="json"),
            "calibration": {"slope": round(calibration.slope, 6), "shift": round(calibration.shift, 6)},
            "seed": seed,
            "torch": torch.__version__.split("+")[0],
            "machine": platform.machine(),
        },
        figures=all_figures,
        held_out_sources=sorted(set(test.groups)),
        sees=config.sees,
        does_not_see=config.does_not_see,
    )
    write_card(card, out)
    return card, dataset


def held_out_figures(generator: Generator, test: Dataset, alerting: Alerting, thinning: int) -> dict[str, Any]:
    """Figures of ``generator`` on videos that had no part in it, ``alerting`` included.

    Raises:
        TrainingError: only one label among them.
    """
    scores = [clip_scores(generator, bag.features) for bag in test.bags]
    peaks = peaks_as_live([video[::thinning] for video in scores], test.labels, test.groups, alerting.kernel)
    reached = peaks >= alerting.open_threshold
    labels = np.array(test.labels)
    return {
        "videos": len(test.videos),
        "abnormal_videos": int(labels.sum()),
        "video_auc": round(video_auc(test.labels, scores), 4),
        "recall_at_open_threshold": round(float(reached[labels == 1].mean()), 4),
        "false_alarms_at_open_threshold": round(float(reached[labels == 0].mean()), 4),
    }


def calibrated_scores(logits: Sequence[ClipScores], labels: Sequence[int]) -> list[ClipScores]:
    """Out-of-fold logits → the scores that a generator calibrated by them gives."""
    calibration = fit_calibration(logits, labels)
    return [calibration(video) for video in logits]


def fold_figures(
    dataset: Dataset,
    recipe: Recipe,
    *,
    folds: int,
    seed: int,
    seeds: int,
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, Any], list[list[ClipScores]]]:
    """Out-of-fold figures over folds by group, beside those of a linear probe on the same folds.

    Returns:
        The figures, and for each seed the out-of-fold logits of every video.

    Raises:
        TrainingError: too few groups, or a fold leaves one label only.
    """
    try:
        divided = group_folds(dataset.videos, folds, seed)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress("folds", done, folds * seeds)

    runs = [out_of_fold_logits(dataset.bags, divided, recipe, seed + offset, progress=step) for offset in range(seeds)]
    aucs = [video_auc(dataset.labels, calibrated_scores(run, dataset.labels)) for run in runs]
    probe = probe_scores(dataset.bags, divided)
    figures = {
        "folds": folds,
        "fold_seed": seed,
        "seeds": seeds,
        "videos": len(dataset.videos),
        "groups": len(set(dataset.groups)),
        "video_auc": [round(auc, 4) for auc in aucs],
        "video_auc_mean": round(float(np.mean(aucs)), 4),
        "video_auc_spread": round(float(np.std(aucs)), 4),
        "linear_probe_video_auc": round(video_auc(dataset.labels, [np.array([p], np.float32) for p in probe]), 4),
    }
    return figures, runs
