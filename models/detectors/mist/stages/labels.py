"""The stage ``pseudo-labels``: soft labels of the training videos' clips, from scores of the generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.detectors.mist.footage import Footage
from models.detectors.mist.generator_scoring import clip_logits, clip_scores
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.kept_generator import kept_generator
from models.detectors.mist.pseudo_labels import LABELS_FILE, SoftLabels, pseudo_labels
from models.jobs.calibration import Calibration
from models.jobs.rows import read_rows, write_rows

if TYPE_CHECKING:
    from models.detectors.mist.bag import Bag
    from models.detectors.mist.config import MistConfig
    from models.detectors.mist.generator import Generator
    from models.detectors.mist.generator_recipe import Recipe
    from models.jobs.calibration import ClipScores
    from pipeline.manifests.manifest import Video

Folds = Sequence[Sequence[int]]  #: ordinals of the videos of each fold


def compute(
    folder: Path,
    footage: Footage,
    videos: Sequence[Video],
    extra: Sequence[Video],
    names: dict[Path, str],
    generator: Path,
    config: MistConfig,
    folds: Folds | None,
    seed: int,
) -> None:
    """Write the soft labels of the videos, a line each; see :func:`soft_labels`.

    Args:
        generator: folder of the stage ``generator``.
    """
    soft = soft_labels(footage, videos, extra, kept_generator(generator), config, folds, seed)
    write_rows(
        folder / LABELS_FILE,
        [
            {"video": names[video.path], "label": video.label, "clips": [float(value) for value in values]}
            for video, values in zip(videos, soft, strict=True)
        ],
    )


def read(folder: Path) -> dict[str, SoftLabels]:
    """Return the soft labels by the videos' names."""
    return {row["video"]: np.array(row["clips"], np.float32) for row in read_rows(folder / LABELS_FILE)}


def soft_labels(
    footage: Footage,
    videos: Sequence[Video],
    extra: Sequence[Video],
    generator: Generator,
    config: MistConfig,
    folds: Folds | None,
    seed: int,
) -> list[SoftLabels]:
    """Return the soft labels of the videos' clips, float32 (n,) each.

    Args:
        extra: ordinary footage, which gets no labels.
        generator: trained on all of them.
        folds: score the videos of each fold by a generator that is trained on the others; None: by ``generator``.
    """
    bags = [footage.bag(video) for video in videos]
    if folds is None:
        scores = [clip_scores(generator, bag.features) for bag in bags]
    else:
        further = footage.bags(videos, extra)[len(bags) :]
        scores = [
            Calibration()(values) for values in out_of_fold_logits(bags, folds, config.recipe, seed, extra=further)
        ]
    how = config.pseudo_labels.model_dump(exclude={"folds"})
    segments = [footage.clips(video).segments for video in videos]
    return pseudo_labels(scores, [video.label for video in videos], segments=segments, **how)


def out_of_fold_logits(
    bags: Sequence[Bag], folds: Folds, recipe: Recipe, seed: int, *, extra: Sequence[Bag] = ()
) -> list[ClipScores]:
    """Return the clip logits of every video, by a generator that was trained on the other folds.

    Args:
        extra: bags of ordinary footage that every training takes, too.

    Raises:
        TrainingError: without one of the folds, only one label is left.
    """
    logits: dict[int, ClipScores] = {}
    for fold in folds:
        held = set(fold)
        train = [bag for i, bag in enumerate(bags) if i not in held]
        generator = train_generator([*train, *extra], recipe, seed)
        logits |= {i: clip_logits(generator, bags[i].features) for i in fold}
    return [logits[i] for i in range(len(bags))]
