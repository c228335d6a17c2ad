"""A fully connected autoencoder, for items that are a list of values each: handwritten digits (:mod:`.digits_job`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.jobs.steps import run_steps

Items = npt.NDArray[np.float32]  #: (n, D), each value in 0 to 1

#: Steps between two checkpoints: about a second of one core.
_KEPT_EVERY = 2000


class DenseAutoencoder(nn.Module):
    """The network: layers of some sizes to the code and back, tanh between them, and a sigmoid at the end.

    Args:
        sizes: of the layers, from the items' values to the code: 65, 48, 32, 8 means 65–48–32–8–32–48–65.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([*sizes, *reversed(sizes[:-1])]):
            layers += [nn.Linear(inputs, outputs), nn.Tanh()]
        self._layers = nn.Sequential(*layers[:-1], nn.Sigmoid())

    def forward(self, items: Tensor) -> Tensor:
        """Return the reconstruction of items, float32 (N, D) → (N, D), 0 to 1."""
        found: Tensor = self._layers(items)
        return found


def train_dense(
    items: Items,
    sizes: Sequence[int],
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    file: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[DenseAutoencoder, float]:
    """Train a network with Adam on the mean squared error.

    Args:
        sizes: of the hidden layers, to the code.
        batch: items of a step; each epoch takes all items once, in an order of its own.
        seed: of the first weights, and of the orders.
        file: the checkpoint.
        progress: called with the number of epochs that are done.

    Returns:
        the network, in evaluation mode, and the loss at the end.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DenseAutoencoder((items.shape[1], *sizes))
    of_epoch = -(-len(items) // batch)
    order = np.arange(0)

    def loss_at(step: int) -> Tensor:
        nonlocal order
        epoch, at = divmod(step, of_epoch)
        if at == 0 or not len(order):  # the latter where a stopped training goes on
            order = np.random.default_rng([seed, epoch]).permutation(len(items))
        chosen = torch.from_numpy(items[order[at * batch : (at + 1) * batch]])
        return nn.functional.mse_loss(network(chosen), chosen)

    loss = run_steps(
        network,
        loss_at,
        file,
        steps=epochs * of_epoch,
        learning_rate=learning_rate,
        weight_decay=0,
        falls=False,
        kept_every=_KEPT_EVERY,
        progress=lambda done: progress(done // of_epoch) if done % of_epoch == 0 else None,
    )
    return network, loss


@torch.no_grad()
def reconstructed(network: DenseAutoencoder, items: Items) -> Items:
    """Return what the network makes of items, (n, D)."""
    found: Items = network(torch.from_numpy(items)).numpy()
    return found


def errors(network: DenseAutoencoder, items: Items) -> npt.NDArray[np.float32]:
    """Return the mean squared error of each item, (n,)."""
    found: npt.NDArray[np.float32] = np.square(reconstructed(network, items) - items).mean(axis=1)
    return found
