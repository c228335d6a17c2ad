"""The loop of every training here: epochs of batches with Lightning, which resume after a kill.

Bit-reproducible on a CPU at a fixed number of threads, killed and started again or not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.recipe import Optimisation
from models.jobs.checkpoints import CHECKPOINT_FILE, CURVES, own_random_numbers, resumable
from models.jobs.errors import TrainingError

#: Figures of an epoch by their names, and its number from 1 as ``epoch``.
History = list[dict[str, float]]


class Task(Protocol):
    """The batches of a training and their loss."""

    @property
    def samples(self) -> int:
        """The number of samples; an epoch takes each at most once."""
        ...

    def batch(self, ordinals: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Tensor, ...]:
        """Return the network's input for some samples.

        Everything random comes from ``draw`` or from torch's generator, which is seeded for this batch.
        """
        ...

    def losses(self, network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the ``loss`` of a batch, and further scalars for the curves."""
        ...

    def watch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        """Return figures of the network after an epoch, for the curves; the training does not depend on them."""
        ...


def fit(
    network: nn.Module,
    task: Task,
    optimisation: Optimisation,
    *,
    seed: int,
    folder: Path,
    identity: str,
    progress: Callable[[int], None] = lambda _epochs: None,
) -> History:
    """Train ``network``; afterwards it is on the CPU, in evaluation mode, with the weights of the last epoch.

    Args:
        seed: of the order of the samples and of all draws. The first weights are the caller's.
        folder: of checkpoint and curves; made when missing. From the checkpoint of this very training it continues, and
            a finished one costs nothing.
        identity: hash of everything else that the result depends on.
        progress: called with the number of epochs that are done.

    Returns:
        The mean losses and the watched figures of each epoch.

    Raises:
        TrainingError: too few samples, a loss that is not finite, or a checkpoint that is damaged or of another
            training.
        OSError: the folder cannot be written.
    """
    # Lightning takes longer to import than torch.
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    from models.alike.training_module import TrainingModule, WatchEveryEpoch
    from models.jobs.lightning_parts import CheckpointFile, KeepEveryEpoch, interruptible, quiet

    if task.samples < 2:
        raise TrainingError(f"too few samples to learn from (got {task.samples}); expected at least 2")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CHECKPOINT_FILE
    module = TrainingModule(network.train(), task, optimisation, seed)  # Lightning keeps the mode that it finds
    resume = resumable(file, identity)
    kept = torch.load(file, map_location="cpu", weights_only=True) if resume else None
    if kept is not None and kept["epoch"] + 1 >= optimisation.epochs:
        module.load_state_dict(kept["state_dict"])
        module.history = kept["history"]
    else:
        with own_random_numbers(seed, devices=()), quiet(), interruptible():
            trainer = pl.Trainer(
                accelerator="auto",
                devices=1,
                max_epochs=optimisation.epochs,
                reload_dataloaders_every_n_epochs=1,
                num_sanity_val_steps=0,
                limit_val_batches=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=TensorBoardLogger(folder, name=CURVES, version=""),
                log_every_n_steps=1,
                callbacks=[WatchEveryEpoch(), KeepEveryEpoch(file, identity, progress)],  # the history is kept, too
                plugins=[CheckpointFile()],
                default_root_dir=folder,
            )
            trainer.fit(module, ckpt_path=file if resume else None, weights_only=True)
    network.cpu().eval()
    if not all(bool(values.isfinite().all()) for values in network.state_dict().values()):
        raise TrainingError(
            f"the weights of the last epoch are not finite; lower learning_rate ({optimisation.learning_rate:g})"
        )
    return module.history
