"""A training as a Lightning module: its batches, its learning rate and its history. Lightning's epoch is a round."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.jobs.errors import TrainingError
from models.places.batches import Batch, Batches
from models.places.learner import Learner
from models.places.masks import MaskError
from models.places.recipe import Optimisation
from models.places.training import History, learning_rate


class TrainingModule(pl.LightningModule):
    """A learner that is trained for a number of steps.

    Attributes:
        history: mean losses of the rounds that are done.
    """

    def __init__(self, learner: Learner, batches: Batches, optimisation: Optimisation, steps: int) -> None:
        super().__init__()
        self.network = learner.network
        self.history: History = []
        self._learner, self._batches, self._optimisation, self._steps = learner, batches, optimisation, steps
        self._sums: dict[str, Tensor] = {}
        self._in_round = 0

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of one round; Lightning asks before each."""
        first = self.current_epoch * self._optimisation.kept_every
        number = min(self._optimisation.kept_every, self._steps - first)
        # Its own generator: otherwise a loader would draw from the random numbers of the training.
        own = torch.Generator().manual_seed(0)
        steps = _Steps(self._batches, first, number)
        return DataLoader(steps, batch_size=None, generator=own, num_workers=self._optimisation.workers)

    def on_train_epoch_start(self) -> None:
        self._sums, self._in_round = {}, 0

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = learning_rate(self._optimisation, self.global_step, self._steps)

    def training_step(self, batch: Batch | list[Tensor] | MaskError, _ordinal: int) -> Tensor:
        if isinstance(batch, MaskError):
            raise batch
        losses = self._learner.losses(Batch(*batch))
        if not torch.isfinite(losses["loss"]):
            raise TrainingError(
                f"step {self.global_step + 1}: the loss is {losses['loss'].item()}; lower learning_rate "
                f"({self._optimisation.learning_rate:g})"
            )
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
        self._in_round += 1
        return losses["loss"]

    def end_round(self) -> None:
        """Add the round to the history and to the curves."""
        row = {name: float(total) / self._in_round for name, total in self._sums.items()}
        self.history.append({"steps": self.global_step, **row})
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


class EndEveryRound(pl.Callback):
    """Ends each round's history. It comes before the callback that keeps a checkpoint."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        pl_module.end_round()


class _Steps(Dataset[Batch | MaskError]):
    """The batches of a round, or the error of one: raised in a worker it would have a traceback as its text."""

    def __init__(self, batches: Batches, first: int, number: int) -> None:
        self._batches, self._first, self._number = batches, first, number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, ordinal: int) -> Batch | MaskError:
        try:
            return self._batches.at(self._first + ordinal)
        except MaskError as error:
            return error
