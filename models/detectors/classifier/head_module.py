"""The training of a head as a Lightning module: steps, schedule, and the choice of the epoch.

Everything random depends on the seed and the epoch's number alone. The state of the schedule is in the checkpoint. So a
training that continues from one is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset
from torchmetrics.functional.classification import multiclass_accuracy

from models.data.npy_rows import Rows
from models.detectors.classifier.networks import Head
from models.detectors.classifier.recipe import HeadRecipe
from models.jobs.checkpoints import derived_seed
from models.jobs.errors import TrainingError

#: Pictures of the validation that pass through the head at once.
_SCORED_AT_ONCE = 256


class Best(TypedDict):
    """The best epoch so far."""

    loss: float  #: of the validation
    epoch: int
    weights: dict[str, Tensor]


class HeadModule(pl.LightningModule):
    """A head in training.

    Args:
        features: (n, 1 + views, ...), see :mod:`.stages.features`.
        truth: ordinals of the classes, (n,).
        learned, validation: ordinals of the pictures of each part.
    """

    def __init__(
        self,
        head: Head,
        features: Rows,
        truth: npt.NDArray[np.int64],
        learned: Sequence[int],
        validation: Sequence[int],
        recipe: HeadRecipe,
        classes: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.head = head
        self.best: Best | None = None
        self._features, self._truth = features, truth
        self._learned, self._validation = np.array(learned), np.array(validation)
        self._recipe, self._classes, self._seed = recipe, classes, seed
        self._plateau: ReduceLROnPlateau | None = None
        self._kept: dict[str, Any] | None = None
        self._judged: list[tuple[Tensor, Tensor]] = []
        counts = np.bincount(truth[self._learned], minlength=classes)
        weights = len(self._learned) / (classes * np.maximum(counts, 1)) if recipe.balanced else np.ones(classes)
        self.register_buffer("class_weights", torch.from_numpy(weights.astype(np.float32)), persistent=False)
        self.class_weights: Tensor

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the steps of one epoch; Lightning asks before each."""
        drawn = np.random.default_rng(derived_seed(self._seed, self.current_epoch))
        order = drawn.permutation(self._learned)
        views = 1 + drawn.integers(self._features.shape[1] - 1, size=len(order))
        return _loader(self._batches(order, views, self._recipe.batch))

    def val_dataloader(self) -> DataLoader[Any]:
        return _loader(self._batches(self._validation, np.zeros(len(self._validation), np.int64), _SCORED_AT_ONCE))

    def _batches(self, pictures: npt.NDArray[np.int64], views: npt.NDArray[np.int64], size: int) -> _Batches:
        return _Batches(self._features, self._truth, pictures, views, size)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(derived_seed(self._seed, self.current_epoch, 1))  # of the dropout

    def training_step(self, batch: tuple[Tensor, Tensor], _ordinal: int) -> Tensor:
        read, truth = batch
        loss = F.cross_entropy(self.head(read), truth, self.class_weights)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"epoch {self.current_epoch + 1}: the loss is {loss.item()}; lower head.learning_rate "
                f"({self._recipe.learning_rate:g})"
            )
        self.log("training/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(truth))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _ordinal: int) -> None:
        read, truth = batch
        self._judged.append((self.head(read), truth))

    def on_validation_epoch_end(self) -> None:
        logits, truth = (torch.cat(parts) for parts in zip(*self._judged, strict=True))
        self._judged.clear()
        loss = F.cross_entropy(logits, truth, self.class_weights)
        accuracy = multiclass_accuracy(logits, truth, self._classes, average="micro")
        self.log_dict({"validation/loss": loss, "validation/accuracy": accuracy})
        if not torch.isfinite(loss):
            raise TrainingError(f"epoch {self.current_epoch + 1}: the validation's loss is {loss.item()}")
        if self.best is None or float(loss) < self.best["loss"]:
            weights = {name: values.detach().cpu().clone() for name, values in self.head.state_dict().items()}
            self.best = Best(loss=float(loss), epoch=self.current_epoch, weights=weights)
        assert self._plateau is not None
        self._plateau.step(float(loss if self._recipe.plateau == "loss" else accuracy))
        self.log("training/learning_rate", self._plateau.get_last_lr()[0])
        if self.finished:
            self.trainer.should_stop = True

    @property
    def finished(self) -> bool:
        """Return whether the loss of the validation has not fallen for the recipe's patience."""
        return self.best is not None and self.current_epoch - self.best["epoch"] >= self._recipe.patience

    def configure_optimizers(self) -> torch.optim.Optimizer:
        recipe = self._recipe
        optimiser = torch.optim.SGD(
            self.head.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
        self._plateau = ReduceLROnPlateau(
            optimiser,
            mode="min" if recipe.plateau == "loss" else "max",
            factor=recipe.factor,
            patience=recipe.plateau_epochs,
            threshold=0.0,
        )
        if self._kept is not None:
            self._plateau.load_state_dict(self._kept)
        return optimiser

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self._plateau is not None
        checkpoint |= {"best": self.best, "plateau": self._plateau.state_dict(), "finished": self.finished}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best = checkpoint["best"]
        self._kept = checkpoint["plateau"]
        if self._plateau is not None:
            self._plateau.load_state_dict(checkpoint["plateau"])


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Input of the head for pictures, batch by batch, and their classes."""

    def __init__(
        self,
        features: Rows,
        truth: npt.NDArray[np.int64],
        pictures: npt.NDArray[np.int64],
        views: npt.NDArray[np.int64],
        size: int,
    ) -> None:
        self._features, self._truth, self._pictures, self._views, self._size = features, truth, pictures, views, size

    def __len__(self) -> int:
        return -(-len(self._pictures) // self._size)

    def __getitem__(self, ordinal: int) -> tuple[Tensor, Tensor]:
        some = slice(ordinal * self._size, (ordinal + 1) * self._size)
        chosen = zip(self._pictures[some], self._views[some], strict=True)
        read = np.stack([np.asarray(self._features[int(at)])[number] for at, number in chosen])
        return torch.from_numpy(read), torch.from_numpy(self._truth[self._pictures[some]])


def _loader(batches: _Batches) -> DataLoader[Any]:
    # Its own generator: otherwise a loader would draw from the random numbers of the training.
    return DataLoader(batches, batch_size=None, generator=torch.Generator().manual_seed(0))
