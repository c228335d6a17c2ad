"""The stage ``head``: the trained layers of the product.

head.safetensors    their weights
head.json           the file's SHA-256, and the number of epochs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.npy_rows import Rows
from models.detectors.classifier.divisions import validation_of
from models.detectors.classifier.head_training import train_head
from models.detectors.classifier.networks import Head, PooledHead
from models.detectors.classifier.recipe import ClassifierRecipe
from models.jobs.checkpoints import CHECKPOINT_FILE
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH
from models.tensors import load_tensors, save_tensors

WEIGHTS_FILE, ABOUT_FILE = "head.safetensors", "head.json"


def compute(
    folder: Path,
    features: Rows,
    truth: npt.NDArray[np.int64],
    groups: Sequence[str],
    known: Sequence[int],
    classes: int,
    head: Head,
    recipe: ClassifierRecipe,
    seed: int,
    progress: Callable[[int], None],
    own_validation: Sequence[int],
) -> None:
    """Write them.

    Args:
        features, truth, groups: of all pictures.
        known: ordinals of those that may be learned from.
        own_validation: those of the data set's own validation among them. Where it lacks a class or there is none, one
            is drawn by group.
        progress: called with the number of epochs that are done.

    Raises:
        TrainingError: the groups cannot be divided, or the training fails.
        OSError: the folder cannot be written.
    """
    learned, validation = sorted(set(known) - set(own_validation)), list(own_validation)
    if any(set(truth[part]) != set(truth[list(known)]) for part in (learned, validation)):
        drawn = validation_of(truth[list(known)], [groups[at] for at in known], recipe.examples.validation, seed)
        learned, validation = ([known[place] for place in part] for part in drawn)
    epochs = train_head(
        head, features, truth, learned, validation, recipe.head, classes, seed, folder / SCRATCH, progress
    )
    trained = head.folded() if isinstance(head, PooledHead) else head
    digest = save_tensors(trained.state_dict(), folder / WEIGHTS_FILE)
    about = {"weights_sha256": digest, "epochs": epochs, "learned": len(learned), "validation": len(validation)}
    write_json(folder / ABOUT_FILE, about)
    (folder / SCRATCH / CHECKPOINT_FILE).unlink(missing_ok=True)  # of VGG-16's layers it has 1.4 GB; the curves stay


def read(folder: Path, head: Head) -> dict[str, int]:
    """Load the trained weights into ``head``; return the numbers of epochs and of pictures of each part.

    Raises:
        TensorsError: the file is damaged.
        OSError: it cannot be read.
    """
    about = read_json(folder / ABOUT_FILE)
    sha256 = about.pop("weights_sha256")
    head.load_state_dict(load_tensors(folder / WEIGHTS_FILE, head.state_dict(), network="head", sha256=sha256))
    head.eval()
    return {str(name): int(value) for name, value in about.items()}
