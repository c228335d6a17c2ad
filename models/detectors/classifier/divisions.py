"""The division of labelled pictures by group: for training, for the validation, and into folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from models.jobs.errors import TrainingError

#: Balanced draws that are tried for a division, and draws of any kind after them.
_DRAWS, _ANY_DRAWS = 10, 50


def folds_of(
    truth: npt.NDArray[np.int64], groups: Sequence[str], folds: int, seed: int, *, validation: float | None = None
) -> list[list[int]]:
    """Return the ordinals of each fold, where every fold leaves each class some pictures on both sides.

    Args:
        truth: ordinals of the classes, (n,).
        groups: of the pictures; never divided.
        folds: fewer where a class has fewer groups.
        validation: share of the pictures outside a fold that must be divisible from the others again.

    Raises:
        TrainingError: no such division was found.
    """
    classes = np.unique(truth)
    scarcest = min(len({groups[i] for i in np.flatnonzero(truth == one).tolist()}) for one in classes)
    for number in range(min(folds, scarcest), 1, -1):
        for found in _candidates(truth, groups, number, seed):
            parts = [(np.setdiff1d(np.arange(len(truth)), fold), fold) for fold in found]
            if all(set(truth[part]) == set(classes) for pair in parts for part in pair) and (
                validation is None or all(_divides(truth, groups, rest, validation, seed) for rest, _ in parts)
            ):
                return [fold.tolist() for fold in found]
    raise TrainingError(
        f"the groups cannot be divided so that each part has pictures of all {len(classes)} classes: add pictures of "
        "further groups"
    )


def _candidates(
    truth: npt.NDArray[np.int64], groups: Sequence[str], number: int, seed: int
) -> Iterator[list[npt.NDArray[np.int64]]]:
    """Yield divisions into so many folds: balanced ones first, then any, as few groups may have no balanced one."""
    for draw in range(seed, seed + _DRAWS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of few pictures of a class
            divided = StratifiedGroupKFold(number, shuffle=True, random_state=draw).split(truth, truth, groups)
            yield [np.sort(fold) for _, fold in divided]
    names, members = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    drawn = np.random.default_rng(seed)
    for _ in range(_ANY_DRAWS):
        of_group = drawn.permutation(np.arange(len(names)) % number)
        yield [np.flatnonzero(of_group[members] == fold) for fold in range(number)]


def _divides(
    truth: npt.NDArray[np.int64], groups: Sequence[str], chosen: npt.NDArray[np.int64], share: float, seed: int
) -> bool:
    try:
        validation_of(truth[chosen], [groups[at] for at in chosen], share, seed)
    except TrainingError:
        return False
    return True


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
