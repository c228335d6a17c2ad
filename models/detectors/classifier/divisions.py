"""The division of labelled pictures by group: for training, for the validation, and into folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from models.jobs.errors import TrainingError


def folds_of(truth: npt.NDArray[np.int64], groups: Sequence[str], folds: int, seed: int) -> list[list[int]]:
    """Return the ordinals of each fold, where every fold leaves each class some pictures on both sides.

    Args:
        truth: ordinals of the classes, (n,).
        groups: of the pictures; never divided.
        folds: fewer where a class has fewer groups.

    Raises:
        TrainingError: no such division was found.
    """
    classes = np.unique(truth)
    scarcest = min(len({groups[i] for i in np.flatnonzero(truth == one).tolist()}) for one in classes)
    for number in range(min(folds, scarcest), 1, -1):
        # Other seeds where a draw leaves a class out: with few groups that is a matter of luck.
        for draw in range(seed, seed + 10):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of few pictures of a class
                divided = StratifiedGroupKFold(number, shuffle=True, random_state=draw).split(truth, truth, groups)
                found = [(np.sort(rest), np.sort(fold)) for rest, fold in divided]
            if all(set(truth[part]) == set(classes) for pair in found for part in pair):
                return [fold.tolist() for _, fold in found]
    raise TrainingError(
        f"the groups cannot be divided so that each part has pictures of all {len(classes)} classes: add pictures of "
        "further groups"
    )


def validation_of(
    truth: npt.NDArray[np.int64], groups: Sequence[str], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the ordinals of the pictures to learn from and of those of the validation.

    Args:
        share: of the validation, approximated by one over a whole number.

    Raises:
        TrainingError: see :func:`folds_of`.
    """
    held = set(folds_of(truth, groups, round(1 / share), seed)[0])
    return [i for i in range(len(truth)) if i not in held], sorted(held)
