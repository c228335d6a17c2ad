"""The stage ``self_labels``: confident clusters of whole pictures become labels of their strong views.

Its files are those of the stage ``clustering``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.losses import self_label_loss
from models.alike.networks import ClusteringNetwork
from models.alike.pictures.picture_set import PictureData, Pixels
from models.alike.recipe import AlikeRecipe
from models.alike.stages import clustering
from models.alike.training import fit
from models.alike.views import strong_views, viewed, whole_pictures
from models.jobs.stages import SCRATCH


def compute(
    folder: Path,
    network: ClusteringNetwork,
    data: PictureData,
    recipe: AlikeRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Write them.

    Args:
        network: of the stage ``clustering``; it is changed.
        progress: called with the number of epochs that are done.

    Raises:
        TrainingError: see :func:`models.alike.training.fit`.
        OSError: the folder cannot be written.
    """
    history = fit(
        network,
        _SelfLabels(data, recipe),
        recipe.self_labels.optimisation,
        seed=seed,
        folder=folder / SCRATCH,
        identity="self_labels",  # a stage's draft belongs to one training
        progress=progress,
    )
    clustering.write(folder, network, network.clusters, history)


class _SelfLabels:
    """Each picture as it is and a strong view, and the self-labelling loss."""

    def __init__(self, data: PictureData, recipe: AlikeRecipe) -> None:
        self._data, self._recipe = data, recipe
        self._transform = strong_views(recipe.strong, data.size)

    @property
    def samples(self) -> int:
        return len(self._data.learned)

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        pixels = self._data.learned.pixels[ordinals]
        return whole_pictures(pixels), self._viewed(pixels)

    def _viewed(self, pixels: Pixels) -> Tensor:
        return viewed(pixels, self._transform, self._recipe.views_together)

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        own = self._recipe.self_labels
        weak, strong = batch
        with torch.no_grad():
            labels = network(weak)
        loss = self_label_loss(labels, network(strong), own.confidence, balanced=own.balanced)
        return {"loss": loss.total, "confident": torch.tensor(loss.confident / len(weak))}

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        last = epoch == self._recipe.self_labels.optimisation.epochs
        return {} if epoch % self._recipe.watch_every and not last else clustering.watched(network, self._data)
