"""The stage ``generator``: stage 1 of MIST on all training videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.mist.footage import Footage
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.kept_generator import keep_generator

if TYPE_CHECKING:
    from models.detectors.mist.generator import Generator
    from models.detectors.mist.generator_recipe import Recipe
    from pipeline.manifests.manifest import Video


def compute(
    folder: Path,
    footage: Footage,
    videos: Sequence[Video],
    extra: Sequence[Video],
    recipe: Recipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Train the generator and write its weights; see :func:`train`."""
    keep_generator(train(footage, videos, extra, recipe, seed, progress), folder)


def train(
    footage: Footage,
    videos: Sequence[Video],
    extra: Sequence[Video],
    recipe: Recipe,
    seed: int,
    progress: Callable[[int], None],
) -> Generator:
    """Train the generator on videos; see :func:`models.detectors.mist.generator_training.train_generator`.

    Args:
        extra: ordinary footage; see :meth:`models.detectors.mist.footage.Footage.bags`.

    Raises:
        TrainingError: it cannot be trained on these videos.
    """
    return train_generator(footage.bags(videos, extra), recipe, seed, progress=progress)
