"""Zones of a picture: polygons in shares of its width and height, and the cells of a grid that lie inside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: x and y in shares of the picture's width and height, (0, 0) is its top left corner and (1, 1) its bottom right.
Point = tuple[float, float]
#: The corners of several polygons.
Polygons = tuple[tuple[Point, ...], ...]
#: Left, top, right and bottom of a rectangle, in shares of the picture; it may reach beyond the picture.
Rectangle = tuple[float, float, float, float]

#: The whole picture, as a polygon and as a rectangle.
WHOLE: tuple[Point, ...] = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
WHOLE_RECTANGLE: Rectangle = (0.0, 0.0, 1.0, 1.0)
#: A zone holds heat with this share of the heat's mass: a stain on the edge of two zones is in both.
LEAST_SHARE = 0.2
#: Values below this share of the greatest one are background: a faint value everywhere adds up to much.
_HOT = 0.5
#: Points that deviate less from one line, in shares of the picture, enclose nothing.
_THIN = 1e-6
#: Sides of less height count as level: their slope may not be finite. In cells, or in shares of the picture.
_LEVEL = 1e-12

#: A side from its first to its second point, and one of a numbered polygon from its upper to its lower point.
_Side = tuple[Point, Point]
_NumberedSide = tuple[int, Point, Point]


@dataclass(frozen=True, slots=True)
class Zone:
    """A named polygon of a picture.

    Attributes:
        points: its corners in order, either way round; it closes by itself.
        ignore: motion in it does not matter.

    Raises:
        ValueError: points that are not a simple polygon inside the picture.
    """

    name: str
    points: tuple[Point, ...]
    ignore: bool = False

    def __post_init__(self) -> None:
        check_polygon(self.points)

    @property
    def area(self) -> float:
        """The share of the picture that it covers."""
        return float(coverage(self.points, 1, 1, WHOLE_RECTANGLE)[0, 0])


def check_polygon(points: Sequence[Point]) -> None:
    """Check that ``points`` are the corners of a simple polygon inside the picture.

    Raises:
        ValueError: the first thing that is wrong, one line.
    """
    count = len(points)
    if count < 3:
        raise ValueError(f"a zone needs 3 or more points (got {count})")
    for number, (x, y) in enumerate(points, 1):
        if not (math.isfinite(x) and math.isfinite(y) and 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            raise ValueError(f"point {number} is outside the picture (got {x:g}, {y:g}); expected shares from 0 to 1")
    for number in range(count):
        if points[number] == points[number - 1]:
            before = number if number else count
            raise ValueError(f"point {number + 1} repeats point {before}; remove it (a zone closes by itself)")
    corners = np.array(points, np.float64)
    if np.linalg.matrix_rank(corners - corners.mean(axis=0), tol=_THIN) < 2:
        raise ValueError("the points lie on one line; a zone needs an area")
    for first, second in itertools.combinations(range(count), 2):
        if _meet(points, first, second):
            raise ValueError(
                f"the zone crosses itself: the side from point {first + 1} meets the side from point {second + 1}; "
                "list the points in order around the zone"
            )


def coverage(points: Sequence[Point], rows: int, columns: int, part: Rectangle) -> npt.NDArray[np.float64]:
    """Return the share of each cell of a grid that lies inside a polygon, float64 (rows, columns) in [0, 1]; exact.

    With F(X, Y) the polygon's area left of X and above Y, a cell's share of the area is the second difference of F at
    its corners. By Green's theorem F is a sum over the sides of ∫ max(0, X - x(y)) dy up to Y.

    Args:
        points: the corners of a simple polygon, in shares of the picture.
        part: the part of the picture that the grid covers, in shares of the picture.

    Raises:
        ValueError: a grid without cells, or a part without area.
    """
    sides = list(itertools.pairwise([*points, points[0]]))
    # The orientation of the corners gives the sign.
    doubled = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in sides)
    cells = _enclosed(sides, rows, columns, part)
    return np.clip(cells if doubled < 0 else -cells, 0.0, 1.0)


def united_coverage(zones: Sequence[Zone], rows: int, columns: int, part: Rectangle) -> npt.NDArray[np.float64]:
    """Return the share of each cell of a grid that lies in at least one of the zones, as :func:`coverage` does; exact.

    What several zones cover counts once.
    """
    if len(zones) == 1:
        return coverage(zones[0].points, rows, columns, part)
    return np.clip(_enclosed(_outline([zone.points for zone in zones]), rows, columns, part), 0.0, 1.0)


def left_over(zones: Sequence[Zone]) -> float:
    """Return the share of the picture that lies in none of the zones."""
    return 1.0 - float(united_coverage(zones, 1, 1, WHOLE_RECTANGLE)[0, 0])


def overlapped(
    heat: npt.NDArray[np.float32], part: Rectangle, zones: Sequence[Zone], least: float = LEAST_SHARE
) -> tuple[str, ...]:
    """Return the names of the zones that hold heat, the one with most of it first, equal ones in the zones' order.

    The heat's mass is the sum of its values that reach half of the greatest one, inside the picture. A zone holds heat
    if at least ``least`` of the mass lies inside it. ``ignore`` zones are never named.

    Args:
        heat: (h, w), values ≥ 0; a cell of 0 is cold.
        part: the part of the picture that the cells cover, in shares of the picture.
    """
    rows, columns = heat.shape
    mass = np.maximum(heat, 0.0) * coverage(WHOLE, rows, columns, part)
    mass = np.where(mass >= _HOT * mass.max(), mass, 0.0)
    total = float(mass.sum())
    if not total > 0.0:
        return ()
    shares = {
        zone.name: float((mass * coverage(zone.points, rows, columns, part)).sum()) / total
        for zone in zones
        if not zone.ignore
    }
    # The sum of exact shares may miss the least one by rounding.
    holding = [name for name, share in shares.items() if share >= least - 1e-9]
    return tuple(sorted(holding, key=lambda name: -shares[name]))


def _enclosed(sides: Sequence[_Side], rows: int, columns: int, part: Rectangle) -> npt.NDArray[np.float64]:
    """Return the share of each cell that sides enclose, float64 (rows, columns).

    A side that runs down encloses what is to its right, up to one that runs up. The other way round, the
    shares are below 0.
    """
    left, top, right, bottom = part
    if rows < 1 or columns < 1 or not (left < right and top < bottom):
        raise ValueError(f"a grid needs cells and an area, got {rows} × {columns} cells over {part}")
    # In cells, so that the result is the same at every scale.
    scaled = (np.array(sides, np.float64).reshape(-1, 2, 2) - (left, top)) / (right - left, bottom - top)
    across, down = np.arange(columns + 1.0), np.arange(rows + 1.0)[:, None]
    area = np.zeros((rows + 1, columns + 1))
    for (x0, y0), (x1, y1) in scaled * (columns, rows):
        if abs(y1 - y0) < _LEVEL:
            continue
        begins, ends = np.minimum(y0, down), np.minimum(y1, down)  # the side above each Y
        slope = (x1 - x0) / (y1 - y0)
        area += (ends - begins) * _mean_above_zero(
            across - (x0 + slope * (begins - y0)), across - (x0 + slope * (ends - y0))
        )
    return np.diff(np.diff(area, axis=0), axis=1)


def _outline(polygons: Sequence[Sequence[Point]]) -> list[_Side]:
    """Return the sides of what simple polygons cover together, without level ones; those at its left run down.

    Between two heights at which corners lie or sides cross, no side begins, ends or crosses another.
    """
    sides: list[_NumberedSide] = [
        (number, min(side, key=_height), max(side, key=_height))
        for number, points in enumerate(polygons)
        for side in itertools.pairwise([*points, points[0]])
        if abs(side[1][1] - side[0][1]) >= _LEVEL
    ]
    heights: list[float] = []
    for y in sorted({y for _, upper, lower in sides for y in (upper[1], lower[1])} | _crossings(sides)):
        if not heights or y - heights[-1] >= _LEVEL:
            heights.append(y)
    pieces: dict[tuple[int, bool], list[tuple[float, float]]] = {}  # by side, and whether it runs down
    for top, bottom in itertools.pairwise(heights):
        middle = (top + bottom) / 2
        met = sorted(
            (_x_at(upper, lower, middle), ordinal)
            for ordinal, (_, upper, lower) in enumerate(sides)
            if upper[1] < middle < lower[1]
        )
        inside: set[int] = set()
        for _, ordinal in met:
            was_covered = bool(inside)
            inside ^= {sides[ordinal][0]}
            if bool(inside) == was_covered:
                continue
            found = pieces.setdefault((ordinal, bool(inside)), [])
            goes_on = bool(found) and found[-1][1] == top
            found.append((found.pop()[0] if goes_on else top, bottom))
    outline: list[_Side] = []
    for (ordinal, runs_down), stretches in pieces.items():
        _, upper, lower = sides[ordinal]
        for top, bottom in stretches:
            first, last = (_x_at(upper, lower, top), top), (_x_at(upper, lower, bottom), bottom)
            outline.append((first, last) if runs_down else (last, first))
    return outline


def _crossings(sides: Sequence[_NumberedSide]) -> set[float]:
    """Return the heights at which two of the sides cross."""
    x0, y0, x1, y1 = np.array([(*upper, *lower) for _, upper, lower in sides], np.float64).reshape(-1, 4).T
    slope = (x1 - x0) / (y1 - y0)
    at_zero = x0 - slope * y0
    top, bottom = np.maximum(y0[:, None], y0), np.minimum(y1[:, None], y1)
    apart = slope[:, None] - slope
    are_parallel = apart == 0
    height = (at_zero - at_zero[:, None]) / np.where(are_parallel, 1.0, apart)
    return set(height[~are_parallel & (top < height) & (height < bottom)].tolist())


def _height(point: Point) -> float:
    return point[1]


def _x_at(upper: Point, lower: Point, y: float) -> float:
    return upper[0] + (lower[0] - upper[0]) * ((y - upper[1]) / (lower[1] - upper[1]))


def _mean_above_zero(first: npt.NDArray[np.float64], last: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of max(0, g) for g that runs linearly from ``first`` to ``last``."""
    high, low = np.maximum(first, last), np.minimum(first, last)
    crossing = (high > 0) & (low < 0)
    spread = np.where(crossing, high - low, 1.0)
    return np.where(crossing, high * high / (2 * spread), np.maximum((high + low) / 2, 0.0))


def _meet(points: Sequence[Point], first: int, second: int) -> bool:
    """Return whether two sides have a point in common, other than the corner between two neighbours."""
    count = len(points)
    a, b = points[first], points[(first + 1) % count]
    c, d = points[second], points[(second + 1) % count]
    if second == first + 1:  # b is c
        return _on(d, a, b) or _on(a, c, d)
    if (second + 1) % count == first:  # d is a
        return _on(c, a, b) or _on(b, c, d)
    if any((_on(c, a, b), _on(d, a, b), _on(a, c, d), _on(b, c, d))):
        return True
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _side(a: Point, b: Point, point: Point) -> float:
    """Return twice the signed area of a triangle: its sign is the side of the line a–b that ``point`` lies on."""
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def _on(point: Point, a: Point, b: Point) -> bool:
    """Return whether a point lies on the side from a to b."""
    if abs(_side(a, b, point)) > _THIN * math.dist(a, b):
        return False
    return all(min(a[axis], b[axis]) - _THIN <= point[axis] <= max(a[axis], b[axis]) + _THIN for axis in (0, 1))
