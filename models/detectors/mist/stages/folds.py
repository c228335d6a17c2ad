"""The stage ``folds``: scores of a fold's videos by networks that were trained on the other folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.mist.footage import Footage
from models.detectors.mist.stages import encoder, generator, labels
from models.detectors.mist.stages.scores import score_video, write_scores

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
    from models.detectors.mist.divisions import FoldParts
    from pipeline.manifests.manifest import Video


def compute(
    folder: Path,
    footage: Footage,
    parts: FoldParts,
    extra: Sequence[Video],
    names: Mapping[Path, str],
    config: MistConfig,
    seed: int,
    scratch: Path,
    progress: Callable[[str, int, int], None],
    *,
    first: bool,
) -> None:
    """Train on the other folds as the product is trained, and write the scores of the fold's videos.

    Args:
        extra: ordinary footage that every training takes, too.
        scratch: folder of the checkpoint.
        progress: called with (part of the work, epochs done, epochs in all).
        first: this process writes; the others of ``torchrun`` only take part in the training.
    """
    recipe = config.recipe
    total = recipe.epochs * recipe.members
    trained = generator.train(footage, parts.train, extra, recipe, seed, lambda done: progress("stage 1", done, total))
    network = None
    if (second := config.encoder) is not None:
        soft = labels.soft_labels(footage, parts.train, extra, trained, config, parts.label_folds, seed)
        network = encoder.train(
            footage,
            parts.train,
            soft,
            parts.validation,
            second,
            config.backbone,
            seed,
            scratch,
            lambda done: progress("stage 2", done, second.epochs),
        )
    if first:
        scores = [score_video(footage, names[video.path], video, trained, network) for video in parts.held]
        write_scores(folder, scores)
