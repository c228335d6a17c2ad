"""A training as a Lightning module: its batches, its learning rate and its history.

Everything random depends on the seed, the epoch's number and the batch's number alone.
"""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from models.alike.recipe import Optimisation
from models.alike.training import History, Task
from models.jobs.checkpoints import derived_seed, own_random_numbers
from models.jobs.errors import TrainingError

#: Factor by which the cosine lowers the learning rate in the end.
_LEAST_RATE = 0.1**3


class TrainingModule(pl.LightningModule):
    """A network that learns a task.

    Attributes:
        history: figures of the epochs that are done.
    """

    def __init__(self, network: nn.Module, task: Task, optimisation: Optimisation, seed: int) -> None:
        super().__init__()
        self.network = network
        self.history: History = []
        self._task, self._optimisation, self._seed = task, optimisation, seed
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the steps of one epoch; Lightning asks before each."""
        batches = _Batches(self._task, self._optimisation.batch, self._seed, self.current_epoch)
        # Its own generator: otherwise a loader would draw from the random numbers of the training.
        own = torch.Generator().manual_seed(0)
        return DataLoader(batches, batch_size=None, generator=own, num_workers=self._optimisation.workers)

    def on_train_epoch_start(self) -> None:
        self._sums, self._steps = {}, 0
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = learning_rate(self._optimisation, self.current_epoch)

    def training_step(self, batch: list[Tensor] | tuple[Tensor, ...], _ordinal: int) -> Tensor:
        losses = self._task.losses(self.network, tuple(batch))
        if not torch.isfinite(losses["loss"]):
            raise TrainingError(
                f"epoch {self.current_epoch + 1}: the loss is {losses['loss'].item()}; lower learning_rate "
                f"({self._optimisation.learning_rate:g})"
            )
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
        self._steps += 1
        return losses["loss"]

    def end_epoch(self) -> None:
        """Add the epoch to the history and to the curves."""
        row = {name: float(total) / self._steps for name, total in self._sums.items()}
        self.network.eval()
        with torch.no_grad():
            row |= self._task.watch(self.network, self.current_epoch + 1)
        self.network.train()
        self.history.append({"epoch": self.current_epoch + 1, **row})
        self.log_dict(row)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        of = self._optimisation
        weights = [values for values in self.network.parameters() if values.requires_grad]
        if of.optimiser == "adam":
            return torch.optim.Adam(weights, of.learning_rate, weight_decay=of.weight_decay)
        return torch.optim.SGD(weights, of.learning_rate, of.momentum, weight_decay=of.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


class WatchEveryEpoch(pl.Callback):
    """Ends each epoch's history. It comes before the callback that keeps a checkpoint."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        pl_module.end_epoch()


def learning_rate(optimisation: Optimisation, epoch: int) -> float:
    """Return the learning rate of an epoch from 0: e = η·0.1³, e + (η − e)(1 + cos(π · epoch / epochs)) / 2."""
    highest = optimisation.learning_rate
    if optimisation.schedule == "constant":
        return highest
    least = highest * _LEAST_RATE
    return least + (highest - least) * (1 + math.cos(math.pi * epoch / optimisation.epochs)) / 2


class _Batches(Dataset[tuple[Tensor, ...]]):
    """The batches of an epoch, each sample at most once, all of one size."""

    def __init__(self, task: Task, size: int, seed: int, epoch: int) -> None:
        self._task, self._seed, self._epoch = task, seed, epoch
        self._size = min(size, task.samples)
        drawn = np.random.default_rng(derived_seed(seed, epoch))
        self._order: npt.NDArray[np.int64] = drawn.permutation(task.samples)

    def __len__(self) -> int:
        return len(self._order) // self._size

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        chosen = self._order[number * self._size : (number + 1) * self._size]
        seed = derived_seed(self._seed, self._epoch, number)
        with own_random_numbers(seed, devices=()):
            return self._task.batch(chosen, np.random.default_rng(seed))
