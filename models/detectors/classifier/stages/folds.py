"""The stage ``folds``: the probabilities of pictures, each by a head that was trained on other groups.

probabilities.npy    float64 (known, classes)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.npy_rows import Rows
from models.detectors.classifier.divisions import folds_of, validation_of
from models.detectors.classifier.head_training import scores_of, train_head
from models.detectors.classifier.networks import Head
from models.detectors.classifier.recipe import ClassifierRecipe
from models.jobs.checkpoints import CHECKPOINT_FILE
from models.jobs.stages import SCRATCH
from pipeline import files

FILE = "probabilities.npy"


def compute(
    folder: Path,
    features: Rows,
    truth: npt.NDArray[np.int64],
    groups: Sequence[str],
    known: Sequence[int],
    classes: int,
    new_head: Callable[[], Head],
    recipe: ClassifierRecipe,
    seed: int,
    progress: Callable[[int, int], None],
) -> None:
    """Write them.

    Args:
        features, truth, groups: of all pictures.
        known: ordinals of those that may be learned from.
        progress: called with the number of epochs that are done, and with the most that there will be.

    Raises:
        TrainingError: the groups cannot be divided, or a training fails.
        OSError: the folder cannot be written.
    """
    usable = np.array(known)
    own_truth, own_groups = truth[usable], [groups[at] for at in known]
    divided = folds_of(own_truth, own_groups, recipe.examples.folds, seed, validation=recipe.examples.validation)
    total = len(divided) * recipe.head.epochs
    found = np.zeros((len(usable), classes))
    for ordinal, fold in enumerate(divided):
        rest = np.setdiff1d(np.arange(len(usable)), fold)
        of_rest = [own_groups[at] for at in rest]
        learned, validation = validation_of(own_truth[rest], of_rest, recipe.examples.validation, seed)
        before = ordinal * recipe.head.epochs
        place = folder / SCRATCH / str(ordinal)
        if (kept := place / FILE).exists():
            found[fold] = np.load(kept, allow_pickle=False)
            continue
        head = new_head()
        train_head(
            head,
            features,
            truth,
            usable[rest[learned]].tolist(),
            usable[rest[validation]].tolist(),
            recipe.head,
            classes,
            seed,
            place,
            lambda epochs, before=before: progress(before + epochs, total),  # type: ignore[misc]
        )
        found[fold] = scores_of(head, features, usable[fold].tolist())
        with files.replacing(kept) as draft, draft.open("wb") as handle:
            np.save(handle, found[fold])
        (place / CHECKPOINT_FILE).unlink(missing_ok=True)  # of VGG-16's layers it has 1.4 GB; the curves stay
        progress(before + recipe.head.epochs, total)
    np.save(folder / FILE, found)


def read(folder: Path) -> npt.NDArray[np.float64]:
    """Return the probabilities, (known, classes). Raises OSError."""
    found: npt.NDArray[np.float64] = np.load(folder / FILE, allow_pickle=False)
    return found
