"""The place and the thing that a heat map points at, by the class of each pixel of a picture.

Places on the picture are given in shares of its width and height, from the top left, because a picture of classes, a
heat map and the camera's own picture differ in size. Heat is given as it is drawn: from 0 to 1, an attention map
stretched from its least value to its greatest.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Classes = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]

#: Side of the window around a point whose classes are counted, as a share of the picture's width and height: 16 of 320
#: pixels. It evens out single wrong pixels, and stays on a path that is a tenth of the picture wide.
WINDOW = 0.05
#: A box of heat counts as at least this large, as a share of the picture's width and height. An anomaly map of fine
#: cells may be hot on a part of a thing only.
LEAST_SIDE = 0.05
#: Things in a box must cover this share of it, or its few pixels count as noise. A cell of a map of 7 × 7 is a fiftieth
#: of the picture: a bag of a thousandth of the picture covers a twentieth of that.
LEAST_COVERED = 0.02
#: A cell belongs to the heat around the peak from this share of the peak on.
_HOT = 0.5


class Point(NamedTuple):
    """A place on the picture, shares of its width and height."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle of the picture, shares of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


#: The whole picture.
WHOLE = Box(0.0, 0.0, 1.0, 1.0)


def box_in_shares(part: tuple[float, float, float, float], width: float, height: float) -> Box:
    """Return a rectangle (left, top, right, bottom) in pixels of a picture of this size as shares of it."""
    left, top, right, bottom = part
    return Box(left / width, top / height, right / width, bottom / height)


def in_picture(heat: Heat, part: tuple[float, float, float, float]) -> Heat:
    """Return the heat with 0 in cells whose middle lies outside of the picture: a letterbox's bars show nothing.

    Args:
        heat, part: as for :func:`heat_peak`.

    Raises:
        ValueError: see :func:`heat_peak`.
    """
    _check_heat(heat)
    left, top, right, bottom = part
    across = left + (right - left) * (np.arange(heat.shape[1]) + 0.5) / heat.shape[1]
    down = top + (bottom - top) * (np.arange(heat.shape[0]) + 0.5) / heat.shape[0]
    inside = ((down > 0) & (down < 1))[:, None] & ((across > 0) & (across < 1))
    return np.where(inside, heat, np.float32(0))


def heat_peak(heat: Heat, part: tuple[float, float, float, float] = WHOLE) -> Point:
    """Return the centre of the hottest cell, within the picture.

    Among equally hot cells it is the one nearest to their common centre: where a map is saturated, that is the middle.

    Args:
        heat: float32 (h, w).
        part: the part of the picture that the cells cover, in shares; it may reach beyond the picture.

    Raises:
        ValueError: a map that is not (h, w), empty or not finite.
    """
    _check_heat(heat)
    row, column = _hottest(heat)
    rows, columns = heat.shape
    left, top, right, bottom = part
    x, y = left + (right - left) * (column + 0.5) / columns, top + (bottom - top) * (row + 0.5) / rows
    return Point(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))


def heat_box(heat: Heat, part: tuple[float, float, float, float] = WHOLE) -> Box:
    """Return the box around the hot cells that are connected with the hottest one, cut to the picture.

    A cell is hot from half of the greatest value on. Cells are connected by their sides and corners.

    Args:
        heat, part: as for :func:`heat_peak`.

    Raises:
        ValueError: see :func:`heat_peak`.
    """
    _check_heat(heat)
    rows, columns = np.nonzero(_connected(heat >= _HOT * heat.max(), _hottest(heat)))
    left, top, right, bottom = part
    across, down = (right - left) / heat.shape[1], (bottom - top) / heat.shape[0]
    return _cut(
        left + across * int(columns.min()), top + down * int(rows.min()),
        left + across * (int(columns.max()) + 1), top + down * (int(rows.max()) + 1),
    )  # fmt: skip


def class_under(classes: Classes, point: tuple[float, float], window: float = WINDOW) -> int:
    """Return the most frequent class in a window around a point; the class at the point where it is among equals.

    Args:
        classes: uint8 (H, W).
        point: x and y in shares of the picture.
        window: side of the window, as a share of the picture's width and height; at least one pixel is counted.

    Raises:
        ValueError: classes of another shape, or a point outside the picture.
    """
    _check(classes)
    x, y = point
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(f"the point must lie in the picture, in shares from 0 to 1; got ({x:g}, {y:g})")
    height, width = classes.shape
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    reach_down, reach_across = int(window * height / 2), int(window * width / 2)
    seen = classes[
        max(row - reach_down, 0) : row + reach_down + 1, max(column - reach_across, 0) : column + reach_across + 1
    ]
    counts = np.bincount(seen.ravel(), minlength=int(classes[row, column]) + 1)
    own = int(classes[row, column])
    return own if counts[own] == counts.max() else int(counts.argmax())


def object_in(
    classes: Classes,
    box: tuple[float, float, float, float],
    things: Collection[int],
    *,
    least_side: float = LEAST_SIDE,
    least_covered: float = LEAST_COVERED,
) -> int | None:
    """Return the thing with the most pixels in a box of heat; None where things cover too little of it.

    A box from a coarse map holds more than the thing, so that a small share is enough. A box from a fine map may hold a
    part of the thing only, so that a small box is widened around its centre. A class that has as many pixels as another
    one loses to the lower index.

    Args:
        classes: uint8 (H, W).
        box: left, top, right and bottom in shares of the picture.
        things: the classes that are things.
        least_side: least width and height of the box, in shares of the picture.
        least_covered: share of the box that all things together must cover.

    Raises:
        ValueError: classes of another shape, or a box whose sides are the wrong way round.
    """
    seen = _window(classes, box, least_side).pixels
    counts = np.bincount(seen.ravel(), minlength=256)
    mask = np.zeros(256, bool)
    mask[list(things)] = True
    counts[~mask] = 0
    if not counts.any() or counts.sum() < least_covered * seen.size:
        return None
    return int(counts.argmax())


def foot_of(
    classes: Classes, box: tuple[float, float, float, float], thing: int, *, least_side: float = LEAST_SIDE
) -> Point | None:
    """Return the point on which a thing stands, just below its lowest pixel; None where the box holds none of it.

    The place of a thing is the class of the standing scene there. Behind its middle, where the heat's peak is, a camera
    that looks down sees what lies beyond: the lawn behind a cart on the walkway.

    Args:
        classes, box, least_side: as for :func:`object_in`.
        thing: its class. A thing that reaches below the box is followed down to its end.

    Raises:
        ValueError: see :func:`object_in`.
    """
    seen = _window(classes, box, least_side)
    rows, columns = np.nonzero(seen.pixels == thing)
    if not rows.size:
        return None
    lowest = np.sort(columns[rows == rows.max()])
    row, column = int(seen.top + rows.max()), int(seen.left + lowest[len(lowest) // 2])
    height, width = classes.shape
    while row < height - 1 and classes[row, column] == thing:
        row += 1
    return Point((column + 0.5) / width, (row + 0.5) / height)


class _Window(NamedTuple):
    """The pixels of a box, and the place of the first one."""

    pixels: Classes
    left: int
    top: int


def _window(classes: Classes, box: tuple[float, float, float, float], least_side: float) -> _Window:
    """Return the pixels of a box that is widened to its least size. Raises ValueError: see :func:`object_in`."""
    _check(classes)
    left, top, right, bottom = box
    if not (left <= right and top <= bottom):
        raise ValueError(f"the box must have its left and top first; got {tuple(box)}")
    height, width = classes.shape
    first, last = _pixels(left, right, least_side, width)
    above, below = _pixels(top, bottom, least_side, height)
    return _Window(classes[above:below, first:last], first, above)


def _hottest(heat: Heat) -> tuple[int, int]:
    """Return the row and column of the hottest cell."""
    cells = np.argwhere(heat == heat.max())
    nearest = ((cells - cells.mean(axis=0)) ** 2).sum(axis=1).argmin()
    row, column = cells[nearest]
    return int(row), int(column)


def _connected(hot: npt.NDArray[np.bool_], start: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the hot cells that are connected with one of them: it grows by its neighbours until it stays."""
    reached = np.zeros_like(hot)
    reached[start] = True
    while True:
        down = reached.copy()
        down[1:] |= reached[:-1]
        down[:-1] |= reached[1:]
        grown = down.copy()
        grown[:, 1:] |= down[:, :-1]
        grown[:, :-1] |= down[:, 1:]
        grown &= hot
        if np.array_equal(grown, reached):
            return reached
        reached = grown


def _cut(left: float, top: float, right: float, bottom: float) -> Box:
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in (left, top, right, bottom))
    return Box(left, top, right, bottom)


def _pixels(begin: float, end: float, least: float, pixels: int) -> tuple[int, int]:
    """Return the first pixel of a stretch, and the one after its last, once it is widened; at least one pixel."""
    wider = max(0.0, least - (end - begin)) / 2
    first = min(max(round((begin - wider) * pixels), 0), pixels - 1)
    return first, max(first + 1, min(round((end + wider) * pixels), pixels))


def _check_heat(heat: Heat) -> None:
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all():
        raise ValueError(f"a heat map must be finite (h, w), got {heat.dtype} {heat.shape}")


def _check(classes: Classes) -> None:
    if classes.ndim != 2 or not classes.size or classes.dtype != np.uint8:
        raise ValueError(f"classes must be uint8 (H, W), got {classes.dtype} {classes.shape}")
