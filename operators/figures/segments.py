"""Figures of pictures in which each pixel has a class: pixel accuracy and intersection over union.

| figure | meaning |
|---|---|
| ``accuracy`` | share of a class's pixels that were given this class |
| ``iou`` | intersection over union: pixels of a class that were given it, over pixels of the class or given it |
| ``mean_accuracy``, ``mean_iou`` | their means over classes, so that small and large classes count alike |

Pixels without a true class are left out and counted, and so are ambiguous pixels, whose class is uncertain. Pixels
with a true class that were given no class count as wrong.

    >>> import numpy as np
    >>> counts = count_segments(np.array([[0, 0, 1, -1]]), np.array([[0, 1, 1, 1]]), 2)
    >>> figures = segment_figures(counts)
    >>> figures.accuracy.tolist(), figures.iou.tolist()
    ([0.5, 1.0], [0.5, 0.5])
    >>> figures.mean_accuracy, figures.mean_iou, counts.void
    (0.75, 0.5, 1)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.checks import whole_number

#: Class of a pixel that has none, and of one that two classes claim.
VOID, AMBIGUOUS = -1, -2

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Counts of pixels; those of several pictures add up with ``+``.

    Attributes:
        table: pixels by their true class (rows) and the one they were given, (classes, classes + 1). The last column
            has pixels that were given none.
        void: pixels left out because they have no true class.
        ambiguous: pixels left out because their true or given class is uncertain. They are not counted as void.
    """

    table: Counts
    void: int = 0
    ambiguous: int = 0

    def __add__(self, other: SegmentCounts) -> SegmentCounts:
        return SegmentCounts(self.table + other.table, self.void + other.void, self.ambiguous + other.ambiguous)


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """Figures by class, (classes,), NaN where not defined, and their means over classes where they are.

    Attributes:
        accuracy: not defined for classes without true pixels.
        iou: not defined for classes without true or given pixels.
    """

    accuracy: Floats
    iou: Floats

    @property
    def mean_accuracy(self) -> float:
        """The mean pixel accuracy; NaN where no class has one."""
        return _mean(self.accuracy)

    @property
    def mean_iou(self) -> float:
        """The mean intersection over union; NaN where no class has one."""
        return _mean(self.iou)

    def only(self, classes: Iterable[int]) -> SegmentFigures:
        """Return the figures of some classes, as they stand beside all others.

        Args:
            classes: indices.
        """
        chosen = np.fromiter(classes, np.int64)
        return SegmentFigures(self.accuracy[chosen], self.iou[chosen])


def count_segments(truth: npt.ArrayLike, given: npt.ArrayLike, classes: int) -> SegmentCounts:
    """Return the counts of a picture.

    Args:
        truth, given: classes of the pixels, :data:`VOID` or :data:`AMBIGUOUS`, two integer arrays of one shape.

    Raises:
        ValueError: different shapes, or a value that is not a class.
    """
    whole_number("classes", classes, least=1)
    own, other = np.asarray(truth), np.asarray(given)
    if own.shape != other.shape:
        raise ValueError(f"expected a given class for each pixel, got {other.shape} for {own.shape}")
    for values in (own, other):
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"classes must be integers, got {values.dtype}")
        if values.size and not (values.min() >= AMBIGUOUS and values.max() < classes):
            raise ValueError(
                f"expected classes from 0 to {classes - 1}, {VOID} for none or {AMBIGUOUS} for ambiguous, got values "
                f"from {values.min()} to {values.max()}"
            )
    # Both kinds of left-out pixels get rows and columns of their own.
    size = classes + 2
    pairs = (own.astype(np.int64) % size) * size + other.astype(np.int64) % size
    table = np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
    ambiguous = table[AMBIGUOUS].sum() + table[:, AMBIGUOUS].sum() - table[AMBIGUOUS, AMBIGUOUS]
    void = table[VOID].sum() - table[VOID, AMBIGUOUS]
    return SegmentCounts(table[:classes][:, [*range(classes), VOID]], int(void), int(ambiguous))


def fold_counts(counts: SegmentCounts, groups: npt.ArrayLike, classes: int) -> SegmentCounts:
    """Return the counts of coarser classes, such as those of a level of a tree.

    Args:
        groups: the coarser class of each class, (classes of ``counts``,). :data:`VOID` for a class that has none:
            its true pixels are left out as void, and pixels that were given it were given no class.
        classes: number of coarser classes.

    Raises:
        ValueError: not one coarser class for each class, or one that does not exist.
    """
    whole_number("classes", classes, least=1)
    folded = np.asarray(groups)
    if folded.shape != (len(counts.table),):
        raise ValueError(f"expected a coarser class for each of {len(counts.table)} classes, got {folded.shape}")
    if not np.issubdtype(folded.dtype, np.integer) or not (folded.min() >= VOID and folded.max() < classes):
        raise ValueError(f"expected coarser classes from 0 to {classes - 1}, or {VOID} for none")
    table = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(table, (folded[:, None], np.append(folded, VOID)[None, :]), counts.table)
    return SegmentCounts(table[:classes], counts.void + int(table[VOID].sum()), counts.ambiguous)


def segment_figures(counts: SegmentCounts) -> SegmentFigures:
    """Return pixel accuracy and intersection over union of each class."""
    table = counts.table.astype(np.float64)
    right = np.diagonal(table)
    own, given = table.sum(axis=1), table[:, :-1].sum(axis=0)
    return SegmentFigures(_shares(right, own), _shares(right, own + given - right))


def _shares(part: Floats, whole: Floats) -> Floats:
    shares = np.full(len(part), math.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
