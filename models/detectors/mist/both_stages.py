"""Both stages of MIST on some videos: so the product is trained, and each fold once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.backbones.i3d import load_i3d
from models.data.npy_rows import Rows
from models.detectors.mist.config import MistConfig
from models.detectors.mist.encoder import AttentionEncoder
from models.detectors.mist.encoder_data import SCORED_AT_ONCE, LabelledClips, LabelledMaps
from models.detectors.mist.encoder_training import map_logits, train_encoder, train_full
from models.detectors.mist.footage import Footage
from models.detectors.mist.generator import Generator
from models.detectors.mist.generator_training import TrainingError, clip_scores, train_generator
from models.detectors.mist.pseudo_labels import SoftLabels, pseudo_labels
from models.detectors.mist.sga import ANOMALY, NORMAL, SelfGuidedHeads
from models.jobs.thresholds import Calibration, ClipScores, out_of_fold_logits
from pipeline.manifests.folds import VALIDATION, group_folds, validation_split
from pipeline.manifests.manifest import Video

Network = SelfGuidedHeads | AttentionEncoder  #: what stage 2 trains: heads on maps, or backbone and heads
Progress = Callable[[str, int, int], None]  #: (stage, done, total)


class BothStages:
    """What a recipe does with videos.

    Args:
        config: the recipe.
        footage: what the networks see of the videos.
        seed: of the divisions into folds; each training has its own.
        progress: told of every step.
    """

    def __init__(self, config: MistConfig, footage: Footage, seed: int, progress: Progress) -> None:
        self._config, self._footage, self._seed, self._progress = config, footage, seed, progress

    def generator(self, videos: Sequence[Video], seed: int, stage: str = "generator") -> Generator:
        """Stage 1."""
        recipe = self._config.recipe
        total = recipe.epochs * recipe.members
        return train_generator(
            [self._footage.bag(video) for video in videos],
            recipe,
            seed,
            progress=lambda done: self._progress(stage, done, total),
        )

    def soft_labels(self, videos: Sequence[Video], generator: Generator, seed: int) -> list[SoftLabels]:
        """What stage 2 learns: for each video float32 (n,), of its clips."""
        choice = self._config.pseudo_labels
        bags = [self._footage.bag(video) for video in videos]
        if choice.folds is None:
            scores = [clip_scores(generator, bag.features) for bag in bags]
        else:
            logits = out_of_fold_logits(bags, self._label_folds(videos, choice.folds), self._config.recipe, seed)
            scores = [Calibration(1.0, 0.0)(values) for values in logits]
        how = choice.model_dump(exclude={"folds"})
        segments = [self._footage.clips(video).segments for video in videos]
        return pseudo_labels(scores, [video.label for video in videos], segments=segments, **how)

    def encoder(
        self,
        videos: Sequence[Video],
        soft: Sequence[SoftLabels],
        validation: Sequence[Video],
        seed: int,
        scratch: Path,
        stage: str = "encoder",
    ) -> Network:
        """Stage 2."""
        recipe = self._config.encoder
        kind: type[Any] = LabelledMaps if recipe.size == "maps" else LabelledClips

        def labelled(video: Video, labels: SoftLabels | None) -> Any:
            seen = self._footage.training(video)
            # Nobody looks at the clips' labels in the validation.
            return kind(*seen.inputs, labels if labels is not None else np.zeros(len(seen), np.float32), video.label)

        bags = [labelled(video, labels) for video, labels in zip(videos, soft, strict=True)]
        others = [labelled(video, None) for video in validation]

        def progress(done: int) -> None:
            self._progress(stage, done, recipe.epochs)

        if recipe.size == "maps":
            return train_encoder(bags, recipe, seed, scratch, validation=others, progress=progress)
        backbone = load_i3d(self._config.backbone, classifier=False)
        return train_full(bags, recipe, seed, scratch, backbone=backbone, validation=others, progress=progress)

    # -- divisions -----------------------------------------------------------------------------------------------------

    def folds(self, videos: Sequence[Video]) -> list[list[int]]:
        """Those by which both stages are judged, none where the recipe has none: for each the ordinals of its videos.

        Raises:
            TrainingError: the videos cannot be divided like that.
        """
        return [] if self._config.folds is None else self._divided(videos, self._config.folds, "folds")

    def fold_parts(self, others: Sequence[Video], seed: int) -> tuple[list[Video], list[Video]]:
        """What is trained on and what is chosen by where the videos of the other folds are all there are; the division
        that was made for the product does not count here.

        Raises:
            TrainingError: they cannot be divided like that.
        """
        share = self._config.videos.validation
        if share is None:
            return list(others), []
        try:
            marked = validation_split([replace(video, split=None) for video in others], share, seed)
        except ValueError as error:
            raise TrainingError(f"videos.validation, in a fold: {error}") from None
        train = [video for video in marked if video.split != VALIDATION]
        return train, [video for video in marked if video.split == VALIDATION]

    def check_divisions(self, train: Sequence[Video], known: Sequence[Video]) -> None:
        """Whether all divisions can be made that will be: the last of them is hours of training away.

        Args:
            train: what the product is trained on.
            known: what the folds divide.

        Raises:
            TrainingError: one of them cannot.
        """
        self._check_labels(train)
        divided = self.folds(known)
        for fold in divided:
            others = _without(known, fold)
            for seed in range(self._seed, self._seed + self._config.seeds):
                part, _ = self.fold_parts(others, seed)
                _both_labels(part, "folds", len(divided))
                self._check_labels(part)

    def _check_labels(self, videos: Sequence[Video]) -> None:
        if (folds := self._config.pseudo_labels.folds) is not None:
            for fold in self._label_folds(videos, folds):
                _both_labels(_without(videos, fold), "pseudo_labels.folds", folds)

    def _label_folds(self, videos: Sequence[Video], folds: int) -> list[list[int]]:
        return self._divided(videos, folds, "pseudo_labels.folds")

    def _divided(self, videos: Sequence[Video], folds: int, key: str) -> list[list[int]]:
        try:
            return group_folds(videos, folds, self._seed)
        except ValueError as error:
            raise TrainingError(f"{key}: {error}") from None


def encoder_logits(network: Network, inputs: Sequence[Rows]) -> ClipScores:
    """What stage 2 says of n clips, given their maps or the clips themselves.

    Returns:
        float32 (n,), the difference of the weighted head's two logits.
    """
    if isinstance(network, SelfGuidedHeads):
        early, late = inputs
        return map_logits(network, early, late)
    (clips,) = inputs
    found = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for first in range(0, len(clips), SCORED_AT_ONCE):
            logits = network(torch.from_numpy(np.array(clips[first : first + SCORED_AT_ONCE]))).weighted
            found.append((logits[:, ANOMALY] - logits[:, NORMAL]).numpy())
    return np.concatenate(found)


def _without(videos: Sequence[Video], fold: Sequence[int]) -> list[Video]:
    left_out = set(fold)
    return [video for i, video in enumerate(videos) if i not in left_out]


def _both_labels(videos: Sequence[Video], key: str, folds: int) -> None:
    there = {video.label for video in videos}
    for label, what in enumerate(("normal", "abnormal")):
        if label not in there:
            raise TrainingError(
                f"{key}: {folds} folds by group leave one of them no {what} video to train on; take another number or "
                "another --seed"
            )
