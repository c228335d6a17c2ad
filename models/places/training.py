"""The loop of a training: steps with Lightning, which resume after a kill.

Bit-reproducible on a CPU at a fixed number of threads, killed and started again or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path

import torch

from models.jobs.checkpoints import CHECKPOINT_FILE, CURVES, own_random_numbers, resumable
from models.jobs.errors import TrainingError
from models.places.batches import Batches
from models.places.data_set import PlaceSet
from models.places.learner import Learner
from models.places.recipe import Optimisation

#: Mean losses of each round of steps, and the steps that are done as ``steps``.
History = list[dict[str, float]]


def number_of_steps(optimisation: Optimisation, sets: Mapping[str, PlaceSet], shares: Mapping[str, int]) -> int:
    """Return the number of steps: given, or those in which the largest data set is read ``epochs`` times."""
    if optimisation.steps is not None:
        return optimisation.steps
    assert optimisation.epochs is not None
    largest = max(shares, key=lambda name: len(sets[name]))
    return ceil(optimisation.epochs * len(sets[largest]) / shares[largest])


def learning_rate(optimisation: Optimisation, step: int, steps: int) -> float:
    """Return the learning rate of a step from 0: η / 2^⌊(halvings + 1) · step / steps⌋."""
    return optimisation.learning_rate / 2.0 ** ((optimisation.halvings + 1) * step // steps)


def fit(
    learner: Learner,
    batches: Batches,
    optimisation: Optimisation,
    steps: int,
    *,
    seed: int,
    folder: Path,
    identity: str,
    progress: Callable[[int], None] = lambda _steps: None,
) -> History:
    """Train the learner's network; afterwards it is on the CPU, in evaluation mode.

    Args:
        seed: of what the network itself draws. The first weights are the caller's.
        folder: of checkpoint and curves; made when missing. From the checkpoint of this very training it continues, and
            a finished one costs nothing.
        identity: hash of everything else that the result depends on.
        progress: called with the number of steps that are done.

    Returns:
        The mean losses of each round of steps.

    Raises:
        TrainingError: a loss that is not finite, or a checkpoint that is damaged or of another training.
        MaskError: a picture or its annotation cannot be read.
        OSError: the folder cannot be written.
    """
    # Lightning takes longer to import than torch.
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    from models.jobs.lightning_parts import CheckpointFile, KeepEveryEpoch, interruptible, quiet
    from models.places.training_module import EndEveryRound, TrainingModule

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CHECKPOINT_FILE
    network = learner.network.train()  # Lightning keeps the mode that it finds
    module = TrainingModule(learner, batches, optimisation, steps)
    rounds = ceil(steps / optimisation.kept_every)
    resume = resumable(file, identity)
    kept = torch.load(file, map_location="cpu", weights_only=True) if resume else None
    if kept is not None and kept["epoch"] + 1 >= rounds:
        module.load_state_dict(kept["state_dict"])
        module.history = kept["history"]
    else:
        with own_random_numbers(seed, devices=()), quiet(), interruptible():
            trainer = pl.Trainer(
                accelerator="auto",
                devices=1,
                max_epochs=rounds,
                reload_dataloaders_every_n_epochs=1,
                num_sanity_val_steps=0,
                limit_val_batches=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=TensorBoardLogger(folder, name=CURVES, version=""),
                log_every_n_steps=1,
                callbacks=[
                    EndEveryRound(),  # before the checkpoint, which keeps the history
                    KeepEveryEpoch(file, identity, lambda done: progress(min(done * optimisation.kept_every, steps))),
                ],
                plugins=[CheckpointFile()],
                default_root_dir=folder,
            )
            trainer.fit(module, ckpt_path=file if resume else None, weights_only=True)
    network.cpu().eval()
    if not all(bool(values.isfinite().all()) for values in network.state_dict().values()):
        raise TrainingError(
            f"the weights of the last step are not finite; lower learning_rate ({optimisation.learning_rate:g})"
        )
    return module.history
