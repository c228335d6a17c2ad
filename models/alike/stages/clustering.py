"""The stage ``clustering``: SCAN's clusters, by the consistency of neighbours.

clusters.safetensors    encoder and linear layer
clustering.json         the file's SHA-256, the number of clusters, and the history
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.bank import Ordinals
from models.alike.features import probabilities_of
from models.alike.figures import clustering_accuracy
from models.alike.losses import scan_loss
from models.alike.networks import ClusteringNetwork, EmbeddingNetwork
from models.alike.pictures.picture_set import PictureData, Pixels
from models.alike.recipe import AlikeRecipe
from models.alike.trained import loaded
from models.alike.training import History, fit
from models.alike.views import strong_views, viewed
from models.jobs.checkpoints import own_random_numbers
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.tensors import save_tensors

WEIGHTS_FILE, ABOUT_FILE = "clusters.safetensors", "clustering.json"


def compute(
    folder: Path,
    embedding: EmbeddingNetwork,
    neighbours: Ordinals,
    clusters: int,
    data: PictureData,
    recipe: AlikeRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Write them. The encoder begins as the embedding's, and is trained as well.

    Args:
        neighbours: of each learned picture, (n, k).
        progress: called with the number of epochs that are done.

    Raises:
        TrainingError: see :func:`models.alike.training.fit`.
        OSError: the folder cannot be written.
    """
    own = recipe.clustering
    with own_random_numbers(seed, devices=()):
        network = ClusteringNetwork(recipe, data.size[2], clusters, own.heads)
    network.encoder.load_state_dict(embedding.encoder.state_dict())
    history = fit(
        network,
        _Clustering(data, neighbours, recipe),
        own.optimisation,
        seed=seed,
        folder=folder / SCRATCH,
        identity="clustering",  # a stage's draft belongs to one training
        progress=progress,
    )
    best = min(range(own.heads), key=lambda head: history[-1][_loss_of(head)])
    network.heads = nn.ModuleList([network.heads[best]])
    write(folder, network, clusters, history)


def write(folder: Path, network: ClusteringNetwork, clusters: int, history: History) -> None:
    """Write a network of one head, as :func:`read` reads it. Raises OSError."""
    sha256 = save_tensors(network.state_dict(), folder / WEIGHTS_FILE)
    write_json(folder / ABOUT_FILE, {"weights_sha256": sha256, "clusters": clusters, "history": history})


def read(folder: Path, recipe: AlikeRecipe, channels: int) -> tuple[ClusteringNetwork, History]:
    """Return the network, of one head, in evaluation mode, and its history.

    Raises:
        TensorsError: the file of weights is damaged.
        OSError: a file cannot be read.
    """
    about = read_json(folder / ABOUT_FILE)
    network = ClusteringNetwork(recipe, channels, about["clusters"], heads=1)
    return loaded(network, folder / WEIGHTS_FILE, about["weights_sha256"]), about["history"]


def watched(network: nn.Module, data: PictureData) -> dict[str, float]:
    """Return the clustering accuracy of the judged pictures; nothing where they have no labels."""
    if data.judged.labels is None:
        return {}
    clusters = probabilities_of(network, data.judged).argmax(axis=1)
    return {"clustering_accuracy": clustering_accuracy(data.judged.labels, clusters)}


class _Clustering:
    """A view of each picture and one of a neighbour, and SCAN's loss of every head."""

    def __init__(self, data: PictureData, neighbours: Ordinals, recipe: AlikeRecipe) -> None:
        self._data, self._neighbours, self._recipe = data, neighbours, recipe
        self._transform = strong_views(recipe.strong, data.size)

    @property
    def samples(self) -> int:
        return len(self._data.learned)

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        chosen = self._neighbours[ordinals, draw.integers(self._neighbours.shape[1], size=len(ordinals))]
        pixels = self._data.learned.pixels
        return self._viewed(pixels[ordinals]), self._viewed(pixels[chosen])

    def _viewed(self, pixels: Pixels) -> Tensor:
        return viewed(pixels, self._transform, self._recipe.views_together)

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        by_head = cast("ClusteringNetwork", network).logits(torch.cat(batch))
        weight = self._recipe.clustering.entropy_weight
        halves = [logits.chunk(2) for logits in by_head]
        found = [scan_loss(anchors, neighbours, weight) for anchors, neighbours in halves]
        losses = {_loss_of(head): loss.total for head, loss in enumerate(found)}
        return {
            "loss": torch.stack([loss.total for loss in found]).mean(),
            "consistency": torch.stack([loss.consistency for loss in found]).mean(),
            "entropy": torch.stack([loss.entropy for loss in found]).mean(),
            **losses,
        }

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        last = epoch == self._recipe.clustering.optimisation.epochs
        return {} if epoch % self._recipe.watch_every and not last else watched(network, self._data)


def _loss_of(head: int) -> str:
    return f"loss_of_head_{head}"
