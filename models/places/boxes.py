"""Boxes around things, painted as masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from models.places.masks import MaskError
from operators.figures.segments import VOID


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle.

    Attributes:
        label: its index in the labels of the data set.
        left, top, right, bottom: in pixels from the upper left corner of the picture. The last two lie outside: a box
            from 3 to 5 is two pixels wide.
    """

    label: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """The area in pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def __str__(self) -> str:
        return f"({self.left:g}, {self.top:g}, {self.right:g}, {self.bottom:g})"


def painted(boxes: Iterable[tuple[Box, str]], classes: Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return the class of the smallest box that contains the centre of each pixel, VOID outside of all.

    Of boxes of the same area the later one lies on top.

    Args:
        boxes: each with where it stands, such as its file and line, for messages.
        classes: of each label, by index, such as :meth:`~models.places.tree.LabelTree.node_of_labels`.
        size: height and width of the picture in pixels.

    Returns:
        int64 (H, W).

    Raises:
        MaskError: boxes are empty, not finite or partly outside of the picture, or have an unknown label. A line for
            each.
    """
    height, width = size
    own = list(boxes)
    problems = []
    for box, place in own:
        if not all(math.isfinite(value) for value in astuple(box)[1:]):
            problems.append(f"{place}: box {box} is not finite; expected pixels")
        elif box.left >= box.right or box.top >= box.bottom:
            problems.append(f"{place}: box {box} is empty; expected left < right and top < bottom")
        elif box.left < 0 or box.top < 0 or box.right > width or box.bottom > height:
            problems.append(f"{place}: box {box} is partly outside of the picture of {width}×{height} pixels")
        elif not 0 <= box.label < len(classes):
            problems.append(f"{place}: unknown label (got {box.label}); expected 0 to {len(classes) - 1}")
    if problems:
        raise MaskError("\n".join(problems))
    mask = np.full(size, VOID, np.int64)
    for box, _ in sorted(own, key=lambda one: -one[0].area):  # stable: equal ones stay in their order
        top, bottom, left, right = (math.ceil(edge - 0.5) for edge in (box.top, box.bottom, box.left, box.right))
        mask[top:bottom, left:right] = classes[box.label]
    return mask
