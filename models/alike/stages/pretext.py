"""The stage ``pretext``: the embedding, learned by telling two views of a picture from views of others.

embedding.safetensors    encoder and projection head
pretext.json             the file's SHA-256, and the history
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.bank import Bank
from models.alike.contrast import contrast_loss
from models.alike.features import embeddings_of
from models.alike.networks import EmbeddingNetwork
from models.alike.pictures.picture_set import PictureData, Pixels
from models.alike.recipe import AlikeRecipe
from models.alike.trained import loaded
from models.alike.training import History, fit
from models.alike.views import viewed, weak_views
from models.jobs.checkpoints import own_random_numbers
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.tensors import save_tensors

WEIGHTS_FILE, ABOUT_FILE = "embedding.safetensors", "pretext.json"


def compute(folder: Path, data: PictureData, recipe: AlikeRecipe, seed: int, progress: Callable[[int], None]) -> None:
    """Write them.

    Args:
        progress: called with the number of epochs that are done.

    Raises:
        TrainingError: see :func:`models.alike.training.fit`.
        OSError: the folder cannot be written.
    """
    with own_random_numbers(seed, devices=()):
        network = EmbeddingNetwork(recipe, data.size[2])
    history = fit(
        network,
        _Pretext(data, recipe),
        recipe.contrast.optimisation,
        seed=seed,
        folder=folder / SCRATCH,
        identity="pretext",  # a stage's draft belongs to one training
        progress=progress,
    )
    sha256 = save_tensors(network.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "history": history})


def read(folder: Path, recipe: AlikeRecipe, channels: int) -> tuple[EmbeddingNetwork, History]:
    """Return the embedding, in evaluation mode, and its history.

    Raises:
        TensorsError: the file of weights is damaged.
        OSError: a file cannot be read.
    """
    about = read_json(folder / ABOUT_FILE)
    network = EmbeddingNetwork(recipe, channels)
    return loaded(network, folder / WEIGHTS_FILE, about["weights_sha256"]), about["history"]


class _Pretext:
    """Two views of each picture, and their contrast."""

    def __init__(self, data: PictureData, recipe: AlikeRecipe) -> None:
        self._data, self._recipe = data, recipe
        self._transform = weak_views(recipe.weak, data.size)

    @property
    def samples(self) -> int:
        return len(self._data.learned) + (len(self._data.unlabelled) if self._data.unlabelled else 0)

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        pixels = self._pixels(ordinals)
        return self._viewed(pixels), self._viewed(pixels)

    def _viewed(self, pixels: Pixels) -> Tensor:
        return viewed(pixels, self._transform, self._recipe.views_together)

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        first, second = network(torch.cat(batch)).chunk(2)
        return {"loss": contrast_loss(self._recipe.contrast, first, second)}

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        data = self._data
        last = epoch == self._recipe.contrast.optimisation.epochs
        if data.judged.labels is None or (epoch % self._recipe.watch_every and not last):
            return {}
        bank = Bank(embeddings_of(network, data.learned), data.learned.labels)
        found = bank.classify(embeddings_of(network, data.judged))
        return {"knn_accuracy": float((found == data.judged.labels).mean())}

    def _pixels(self, ordinals: npt.NDArray[np.int64]) -> Pixels:
        own, further = self._data.learned.pixels, self._data.unlabelled
        if further is None:
            return own[ordinals]
        outside = ordinals >= len(own)
        pixels = np.empty((len(ordinals), *own.shape[1:]), np.uint8)
        pixels[~outside] = own[ordinals[~outside]]
        pixels[outside] = further.pixels[ordinals[outside] - len(own)]
        return pixels
