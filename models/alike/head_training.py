"""Training of a projection head on features of a frozen network: what a CPU can do for clips.

Each sample has the features of several views, computed beforehand: other parts, moments or speeds of it. Two of them
are the two views of SimCLR.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.contrast import contrast_loss
from models.alike.networks import ProjectionHead, Standardise
from models.alike.recipe import ContrastRecipe
from models.alike.training import fit
from models.jobs.checkpoints import own_random_numbers
from models.jobs.errors import TrainingError

Views = npt.NDArray[np.float32]  #: (N, V, D)

#: Least spread of a value in relation to the mean one: a nearly constant value would be magnified where it varies.
_LEAST_SPREAD = 0.1


def new_head(inputs: int, recipe: ContrastRecipe) -> nn.Sequential:
    """Return an untrained head: features (N, inputs) → embeddings of length 1 (N, ``recipe.values``)."""
    return nn.Sequential(Standardise(inputs), ProjectionHead(inputs, recipe.hidden or inputs, recipe.values))


def train_head(
    views: Views,
    recipe: ContrastRecipe,
    *,
    seed: int,
    folder: Path,
    progress: Callable[[int], None] = lambda _epochs: None,
) -> nn.Sequential:
    """Train a projection head with NT-Xent; two different views of each sample are drawn for each epoch.

    Args:
        views: features of N samples in V views, float32 (N, V, D), with N and V of at least 2.
        seed: of the first weights and all draws.
        folder: of checkpoint and curves; made when missing. A finished training in it costs nothing.
        progress: called with the number of epochs that are done.

    Returns:
        The head of :func:`new_head` with its weights, on the CPU, in evaluation mode.

    Raises:
        TrainingError: features of another shape or that are not finite, a loss that is not finite, or a checkpoint that
            is damaged or of another training.
        OSError: the folder cannot be written.
    """
    if views.ndim != 3 or min(views.shape) < 1 or views.shape[0] < 2 or views.shape[1] < 2:
        raise TrainingError(
            f"views: got features of shape {tuple(views.shape)}; expected (N, V, D) with at least 2 samples of at "
            "least 2 views"
        )
    if not np.isfinite(views).all():
        raise TrainingError("views: some features are not finite; expected finite numbers")
    with own_random_numbers(seed, devices=()):
        head = new_head(views.shape[2], recipe)
    _standardise(cast("Standardise", head[0]), views)
    digest = hashlib.sha256(np.ascontiguousarray(views).tobytes())
    digest.update(json.dumps([recipe.model_dump(mode="json"), seed, views.shape]).encode())
    task = _ViewsTask(views, recipe)
    fit(
        head,
        task,
        recipe.optimisation,
        seed=seed,
        folder=folder,
        identity=digest.hexdigest(),
        progress=progress,
    )
    return head


class _ViewsTask:
    """Two views of each sample, and their contrast."""

    def __init__(self, views: Views, recipe: ContrastRecipe) -> None:
        self._views, self._recipe = views, recipe

    @property
    def samples(self) -> int:
        return len(self._views)

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        number = self._views.shape[1]
        first = draw.integers(number, size=len(ordinals))
        second = (first + 1 + draw.integers(number - 1, size=len(ordinals))) % number
        return tuple(torch.from_numpy(self._views[ordinals, chosen]) for chosen in (first, second))

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"loss": contrast_loss(self._recipe, network(batch[0]), network(batch[1]))}

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        return {}


def _standardise(layer: Standardise, views: Views) -> None:
    """Set centre and scale by all views of all samples."""
    values = views.reshape(-1, views.shape[2])
    spread = values.std(axis=0, dtype=np.float64)
    least = _LEAST_SPREAD * float(spread.mean())
    if not least > 0:
        raise TrainingError("views: the features of all samples are equal; expected features that differ")
    layer.mean.copy_(torch.from_numpy(values.mean(axis=0, dtype=np.float64)))
    layer.scale.copy_(torch.from_numpy(1 / np.maximum(spread, least)))
