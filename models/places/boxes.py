"""Bounding boxes as masks of nodes: a pixel has the node of the smallest box that contains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.places.masks import MaskError
from operators.figures.segments import VOID

#: Left, top, right and bottom in pixels from the picture's top left corner; right and bottom are exclusive.
Box = tuple[float, float, float, float]


def check_boxes(boxes: Sequence[Box], size: tuple[int, int], file: Path) -> None:
    """Check that boxes lie within their picture.

    Args:
        size: height and width of the picture.
        file: the picture, for the message.

    Raises:
        MaskError: a box is empty, inverted, not of finite numbers, or partly outside; a line for each.
    """
    height, width = size
    problems = []
    for box in boxes:
        left, top, right, bottom = box
        if not all(math.isfinite(side) for side in box):
            what = "has sides that are not finite numbers"
        elif left >= right or top >= bottom:
            what = "is empty or inverted"
        elif left < 0 or top < 0 or right > width or bottom > height:
            what = "lies partly outside the picture"
        else:
            continue
        sides = ", ".join(f"{side:g}" for side in box)
        problems.append(
            f"{file}: box [{sides}] {what}; expected [left, top, right, bottom] within {width}×{height} pixels; "
            "correct it, or remove it"
        )
    if problems:
        raise MaskError("\n".join(problems))


def painted(
    boxes: Sequence[Box], nodes: Sequence[int], size: tuple[int, int], file: Path = Path("picture")
) -> npt.NDArray[np.int64]:
    """Paint boxes into a mask.

    A box contains a pixel if it contains the pixel's middle. Smaller boxes lie over larger ones, and of boxes with
    equal areas the later one lies above.

    Args:
        nodes: of each box, or VOID.
        size: height and width of the picture.
        file: the picture, for messages.

    Returns:
        the node of the smallest box that contains the pixel, (H, W); VOID outside of all boxes.

    Raises:
        MaskError: as :func:`check_boxes`.
        ValueError: not one node for each box.
    """
    if len(boxes) != len(nodes):
        raise ValueError(f"expected a node for each of {len(boxes)} boxes, got {len(nodes)}")
    check_boxes(boxes, size, file)
    mask = np.full(size, VOID, np.int64)
    largest_first = sorted(
        zip(boxes, nodes, strict=True), key=lambda one: -(one[0][2] - one[0][0]) * (one[0][3] - one[0][1])
    )
    for box, node in largest_first:
        left, top, right, bottom = (math.ceil(side - 0.5) for side in box)  # the first pixel whose middle is not before
        mask[top:bottom, left:right] = node
    return mask
