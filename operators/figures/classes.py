"""Figures of a classifier: the confusion matrix, and accuracy, precision and recall with intervals.

An anomaly is any class but the first one. *Precision* is the share of the pictures called an anomaly that are one, and
*recall* the share of the anomalies that are called one. *Accuracy* is the share of the pictures that get their own
class.

    >>> import numpy as np
    >>> table = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    >>> table.tolist()
    [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    >>> {name: round(figure(table), 3) for name, figure in FIGURES.items()}
    {'accuracy': 0.5, 'precision': 0.667, 'recall': 1.0}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from operators.checks import whole_number
from operators.figures.bootstrap import DRAWS, LEVEL, Estimate
from operators.figures.events import Interval

Counts = npt.NDArray[np.int64]  #: (classes, classes): pictures by their own class (rows) and the one they were given


def confusion(truth: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> Counts:
    """Return the confusion matrix of pictures.

    Args:
        truth, predicted: ordinals of classes, (n,).

    Raises:
        ValueError: arrays of different lengths, or an ordinal outside the classes.
    """
    own, given = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    if own.shape != given.shape or own.ndim != 1:
        raise ValueError(f"expected as many predictions as pictures, got {given.shape} and {own.shape}")
    if own.size and not (min(own.min(), given.min()) >= 0 and max(own.max(), given.max()) < classes):
        raise ValueError(f"expected classes from 0 to {classes - 1}")
    return np.bincount(own * classes + given, minlength=classes**2).reshape(classes, classes)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


#: From a confusion matrix to a figure; NaN where it is not defined.
FIGURES: Mapping[str, Callable[[Counts], float]] = MappingProxyType(
    {
        "accuracy": lambda table: _share(float(np.trace(table)), float(table.sum())),
        "precision": lambda table: _share(float(table[1:, 1:].sum()), float(table[:, 1:].sum())),
        "recall": lambda table: _share(float(table[1:, 1:].sum()), float(table[1:].sum())),
    }
)


def estimate_classes(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    groups: Sequence[str],
    classes: int,
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return the figures with percentile bootstrap intervals over groups, which are drawn as wholes.

    Args:
        truth, predicted: see :func:`confusion`; at least one picture.
        groups: of the pictures, (n,).
        draws, level, seed: see :func:`operators.figures.bootstrap.estimate`.

    Raises:
        ValueError: no picture, or see :func:`confusion`.
    """
    whole_number("draws", draws, least=1)
    own, given = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    table = confusion(own, given, classes)
    if not own.size:
        raise ValueError("figures need at least one picture")
    names, members = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    tables = np.stack([confusion(own[members == at], given[members == at], classes) for at in range(len(names))])
    rng = np.random.default_rng(seed)
    drawn = [tables[rng.integers(0, len(tables), len(tables))].sum(axis=0) for _ in range(draws)]
    tail = 50 * (1 - level)
    found = {}
    for name, figure in FIGURES.items():
        value = figure(table)
        values = [one for one in map(figure, drawn) if not math.isnan(one)]
        if math.isnan(value):
            found[name] = Estimate(None, None, f"no picture has or was given what {name} counts")
        else:
            found[name] = Estimate(value, Interval(*map(float, np.percentile(values, (tail, 100 - tail)))))
    return found
