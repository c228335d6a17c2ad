"""Training of a head on what it reads of labelled pictures.

Bit-reproducible on a CPU at a fixed number of threads, killed and started again or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.data.npy_rows import Rows
from models.detectors.classifier.networks import Head, PooledHead
from models.detectors.classifier.recipe import HeadRecipe
from models.jobs.checkpoints import CHECKPOINT_FILE, CURVES, own_random_numbers, resumable

#: Epochs from checkpoint to checkpoint of linear layers: one of VGG-16's has 1.4 GB.
_RARELY = 5
#: Least spread of a value, of pictures that hardly differ.
_LEAST_SPREAD = 1e-3


def train_head(
    head: Head,
    features: Rows,
    truth: npt.NDArray[np.int64],
    learned: Sequence[int],
    validation: Sequence[int],
    recipe: HeadRecipe,
    classes: int,
    seed: int,
    folder: Path,
    progress: Callable[[int], None] = lambda _epochs: None,
) -> int:
    """Train a head; afterwards it has the weights of the epoch with the lowest loss of the validation.

    Args:
        features: (n, 1 + views, ...): the whole picture and its views, as the head reads them.
        truth: ordinals of the classes, (n,).
        learned, validation: ordinals of the pictures of each part; both have pictures of every class.
        folder: of checkpoint and curves; made when missing. A finished training in it costs nothing.
        progress: called with the number of epochs that are done.

    Returns:
        The number of epochs up to the chosen one.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged or of another training.
        OSError: the folder cannot be written.
    """
    # Lightning takes longer to import than torch.
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    from models.detectors.classifier.head_module import HeadModule
    from models.jobs.lightning_parts import CheckpointFile, KeepEveryEpoch, interruptible, quiet

    if isinstance(head, PooledHead):
        _standardise(head, features, learned)
    folder.mkdir(parents=True, exist_ok=True)
    file, identity = folder / CHECKPOINT_FILE, _identity(head, features, truth, learned, validation, recipe, seed)
    module = HeadModule(head, features, truth, learned, validation, recipe, classes, seed)
    resume = resumable(file, identity)
    kept = torch.load(file, map_location="cpu", weights_only=True) if resume else None
    if kept is not None and (kept["finished"] or kept["epoch"] + 1 >= recipe.epochs):
        best = kept["best"]
    else:
        with own_random_numbers(seed, devices=()), quiet(), interruptible():
            trainer = pl.Trainer(
                accelerator="cpu",  # a head on kept features is small, and the same bits matter more
                max_epochs=recipe.epochs,
                reload_dataloaders_every_n_epochs=1,
                num_sanity_val_steps=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=TensorBoardLogger(folder, name=CURVES, version=""),
                log_every_n_steps=1,
                callbacks=[KeepEveryEpoch(file, identity, progress, 1 if isinstance(head, PooledHead) else _RARELY)],
                plugins=[CheckpointFile()],
                default_root_dir=folder,
            )
            trainer.fit(module, ckpt_path=file if resume else None, weights_only=True)
        best = module.best
    assert best is not None
    head.load_state_dict(best["weights"])
    head.eval()
    return int(best["epoch"]) + 1


def scores_of(head: Head, features: Rows, pictures: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the probabilities of the classes for whole pictures, (pictures, classes)."""
    head.eval()
    found = []
    with torch.inference_mode():
        for at in pictures:
            read = torch.from_numpy(np.asarray(features[int(at)])[:1])
            found.append(head(read).softmax(1).numpy())
    return np.concatenate(found).astype(np.float64)


def _standardise(head: PooledHead, features: Rows, learned: Sequence[int]) -> None:
    """Set the centre and the scale of what a head reads, over all views of the pictures that are learned from."""
    number, total, squares = 0, np.zeros(head.mean.shape), np.zeros(head.mean.shape)
    for at in learned:  # one by one: there may be more than fits into memory
        values = np.asarray(features[int(at)], np.float64)
        number, total, squares = number + len(values), total + values.sum(0), squares + np.square(values).sum(0)
    mean = total / number
    spread = np.sqrt(np.maximum(squares / number - np.square(mean), 0))
    # In relation to all values: one that is nearly constant here would be magnified where it varies.
    least = max(_LEAST_SPREAD, 0.1 * float(spread.mean()))
    head.mean.copy_(torch.from_numpy(mean))
    head.scale.copy_(torch.from_numpy(1 / np.maximum(spread, least)))


def _identity(
    head: Head,
    features: Rows,
    truth: npt.NDArray[np.int64],
    learned: Sequence[int],
    validation: Sequence[int],
    recipe: HeadRecipe,
    seed: int,
) -> str:
    """Return a hash that identifies a training."""
    shapes = {name: list(values.shape) for name, values in head.state_dict().items()}
    settings = [recipe.model_dump(mode="json"), seed, shapes, list(features.shape), list(map(int, learned))]
    digest = hashlib.sha256(json.dumps([*settings, list(map(int, validation)), truth.tolist()]).encode())
    digest.update(np.asarray(features[int(learned[0])]).tobytes())
    return digest.hexdigest()
