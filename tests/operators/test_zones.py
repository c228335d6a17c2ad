"""Zones: polygons that are refused, the exact share of each cell, and the zones that hold heat."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from operators.zones import WHOLE, WHOLE_RECTANGLE, Point, Zone, coverage, left_over, overlapped, united_coverage

TRIANGLE: tuple[Point, ...] = ((0, 0), (1, 0), (0, 1))
LEFT: tuple[Point, ...] = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))
RIGHT: tuple[Point, ...] = ((0.5, 0), (1, 0), (1, 1), (0.5, 1))

#: Corners around a point inside: a star-shaped polygon, which never crosses itself.
SHAPES = st.tuples(
    st.lists(st.floats(0.1, 0.45), min_size=3, max_size=9),
    st.floats(0, 2 * math.pi),
    st.booleans(),
)


def star(radii: list[float], turn: float, backwards: bool) -> tuple[Point, ...]:
    angles = [turn + 2 * math.pi * number / len(radii) for number in range(len(radii))]
    points = [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
    return tuple(reversed(points)) if backwards else tuple(points)


def shoelace(points: tuple[Point, ...]) -> float:
    """The textbook's area of a polygon."""
    following = points[1:] + points[:1]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, following, strict=True))) / 2


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ([(0, 0), (1, 1)], "a zone needs 3 or more points (got 2)"),
        ([(0, 0), (1, 0), (1, 1.1)], "point 3 is outside the picture (got 1, 1.1); expected shares from 0 to 1"),
        ([(0, 0), (-0.1, 0), (1, 1)], "point 2 is outside the picture (got -0.1, 0); expected shares from 0 to 1"),
        ([(0, math.nan), (1, 0), (1, 1)], "point 1 is outside the picture (got 0, nan); expected shares from 0 to 1"),
        ([(0, 0), (math.inf, 0), (1, 1)], "point 2 is outside the picture (got inf, 0); expected shares from 0 to 1"),
        ([(0, 0), (1, 0), (1, 0), (1, 1)], "point 3 repeats point 2; remove it (a zone closes by itself)"),
        ([(0, 0), (1, 0), (1, 1), (0, 0)], "point 1 repeats point 4; remove it (a zone closes by itself)"),
        ([(0, 0), (0.5, 0.5), (1, 1)], "the points lie on one line; a zone needs an area"),
        ([(0, 0), (1, 0), (1, 1e-9)], "the points lie on one line; a zone needs an area"),
    ],
)
def test_points_that_are_not_a_zone_are_refused(points: list[Point], problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(problem)}$"):
        Zone("gate", tuple(points))


@pytest.mark.parametrize(
    ("points", "first", "second"),
    [
        pytest.param([(0, 0), (1, 1), (1, 0), (0, 1)], 1, 3, id="a bow tie"),
        pytest.param([(0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)], 1, 3, id="a corner touches a side"),
        pytest.param([(0, 0), (0.5, 0.5), (1, 0), (1, 1), (0.5, 0.5), (0, 1)], 1, 4, id="two corners at one place"),
        pytest.param([(0, 0), (1, 0), (0.5, 0), (0.5, 1)], 1, 2, id="it goes back on itself"),
        pytest.param([(0, 0), (0.8, 0), (0.8, 1), (0.4, 0), (0.2, 0), (0, 1)], 1, 3, id="two sides share a stretch"),
    ],
)
def test_a_zone_that_crosses_or_touches_itself_is_refused(points: list[Point], first: int, second: int) -> None:
    with pytest.raises(ValueError, match="crosses itself") as caught:
        Zone("gate", tuple(points))
    assert f"the side from point {first} meets the side from point {second};" in str(caught.value)


def test_cells_by_hand() -> None:
    """The triangle above the falling diagonal: its sides halve two of four cells, and it does not reach the last."""
    np.testing.assert_allclose(coverage(TRIANGLE, 2, 2, WHOLE_RECTANGLE), [[1, 0.5], [0.5, 0]], atol=1e-12)
    # In thirds of the width: the left half covers the first column, and half of the second.
    np.testing.assert_allclose(coverage(LEFT, 1, 3, WHOLE_RECTANGLE), [[1, 0.5, 0]], atol=1e-12)
    # A diamond in quarters: the inner cells lie inside, each outer one beside the middle half.
    diamond = ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5))
    expected = [[0, 0.5, 0.5, 0], [0.5, 1, 1, 0.5], [0.5, 1, 1, 0.5], [0, 0.5, 0.5, 0]]
    np.testing.assert_allclose(coverage(diamond, 4, 4, WHOLE_RECTANGLE), expected, atol=1e-12)


def test_a_letterbox_and_a_crop_are_other_parts_of_the_picture() -> None:
    # Bars above and below, each half as high as the picture: the four rows are bar, upper half, lower half, bar.
    letterbox = coverage(((0, 0), (1, 0), (1, 0.5), (0, 0.5)), 4, 1, (0, -0.5, 1, 1.5))
    np.testing.assert_allclose(letterbox, [[0], [1], [0], [0]], atol=1e-12)
    # The middle half of the width is seen; the left half of the picture is the left half of what is seen.
    np.testing.assert_allclose(coverage(LEFT, 1, 2, (0.25, 0, 0.75, 1)), [[1, 0]], atol=1e-12)


@given(SHAPES, st.integers(1, 9), st.integers(1, 9))
def test_the_cells_add_up_to_the_polygon(shape: tuple[list[float], float, bool], rows: int, columns: int) -> None:
    points = star(*shape)
    covered = coverage(points, rows, columns, WHOLE_RECTANGLE)
    assert covered.sum() / (rows * columns) == pytest.approx(shoelace(points), abs=1e-9)
    assert Zone("gate", points).area == pytest.approx(shoelace(points), abs=1e-9)


@given(SHAPES, st.integers(1, 5), st.integers(1, 5), st.floats(0.01, 1000), st.floats(-50, 50))
def test_scale_and_place_do_not_matter(
    shape: tuple[list[float], float, bool], rows: int, columns: int, scale: float, shift: float
) -> None:
    """Points and part in pixels of any picture give the shares that shares of the picture give."""
    points = star(*shape)
    moved = [(x * scale + shift, y * scale + shift) for x, y in points]
    part = (shift, shift, scale + shift, scale + shift)
    assume(scale + shift != shift)
    expected = coverage(points, rows, columns, WHOLE_RECTANGLE)
    np.testing.assert_allclose(coverage(moved, rows, columns, part), expected, atol=1e-7)


def inside(points: tuple[Point, ...], rows: int, columns: int, fine: int = 40) -> np.ndarray:
    """Whether points of each cell, fine × fine, lie in a polygon, by the even-odd rule: (rows, fine, columns, fine)."""
    x = ((np.arange(columns * fine) + 0.5) / (columns * fine))[None, :]
    y = ((np.arange(rows * fine) + 0.5) / (rows * fine))[:, None]
    found = np.zeros((rows * fine, columns * fine), bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 != y1:
            found ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found.reshape(rows, fine, columns, fine)


@given(SHAPES, st.integers(2, 6), st.integers(2, 6))
def test_the_share_of_a_cell_is_that_of_points_in_it(
    shape: tuple[list[float], float, bool], rows: int, columns: int
) -> None:
    """An independent count: even-odd rule for 40 × 40 points a cell."""
    points = star(*shape)
    counted = inside(points, rows, columns).mean(axis=(1, 3))
    # A side crosses at most some 2 × 40 of a cell's 1600 points, and a cell has a few sides at most.
    np.testing.assert_allclose(coverage(points, rows, columns, WHOLE_RECTANGLE), counted, atol=0.1)


@pytest.mark.parametrize(("rows", "part"), [(0, WHOLE_RECTANGLE), (1, (0.0, 0.0, 0.0, 1.0)), (1, (0.0, 1.0, 1.0, 0.0))])
def test_a_grid_without_cells_or_area_is_refused(rows: int, part: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="a grid needs cells and an area"):
        coverage(WHOLE, rows, 1, part)


def test_what_zones_leave_over() -> None:
    assert left_over([]) == 1.0
    assert left_over([Zone("left", LEFT)]) == pytest.approx(0.5)
    assert left_over([Zone("left", LEFT), Zone("right", RIGHT)]) == pytest.approx(0.0)
    assert left_over([Zone("left", LEFT), Zone("again", LEFT)]) == pytest.approx(0.5)


@pytest.mark.parametrize("height", [1e-320, 1e-300, 1e-200, 1e-15])
def test_a_side_that_is_almost_level_is_one(height: float) -> None:
    points = ((0.2, 0.0), (0.8, height), (0.8, 1.0), (0.2, 1.0))
    np.testing.assert_allclose(coverage(points, 2, 2, WHOLE_RECTANGLE), np.full((2, 2), 0.6), atol=1e-9)
    assert Zone("gate", points).area == pytest.approx(0.6)
    assert left_over([Zone("gate", points), Zone("left", LEFT)]) == pytest.approx(0.2)


class TestUnited:
    #: Its edges lie on no line of the grids here.
    ODD: tuple[Point, ...] = ((0.1, 0.1), (0.43, 0.1), (0.43, 0.77), (0.1, 0.77))

    def test_a_zone_counts_once(self) -> None:
        """30 % of a cell stays that, however many zones cover it."""
        odd = Zone("odd", self.ODD)
        assert left_over([odd, odd]) == pytest.approx(1 - 0.33 * 0.67)
        third = Zone("third", ((0, 0), (0.3, 0), (0.3, 1), (0, 1)))
        np.testing.assert_allclose(united_coverage([third] * 3, 1, 1, WHOLE_RECTANGLE), [[0.3]], atol=1e-9)

    def test_two_that_cross_by_hand(self) -> None:
        """A cross of two bars, each a fifth of the picture; they share a twenty-fifth."""
        upright, lying = (
            Zone("upright", ((0.43, 0), (0.63, 0), (0.63, 1), (0.43, 1))),
            Zone("lying", ((0, 0.31), (1, 0.31), (1, 0.51), (0, 0.51))),
        )
        assert left_over([upright, lying]) == pytest.approx(1 - (0.2 + 0.2 - 0.04))
        # A diamond of half the picture hides the middle of two diagonals' triangles: what it leaves are four corners.
        diamond = Zone("diamond", ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)))
        above = Zone("above", TRIANGLE)
        # Of the triangle, only the upper left corner and halves of two others lie outside of the diamond.
        assert left_over([diamond, above]) == pytest.approx(1 - (0.5 + 1 / 8 + 2 / 16))

    def test_neighbours_leave_no_gap(self) -> None:
        below = Zone("below", ((1, 0), (1, 1), (0, 1)))
        np.testing.assert_allclose(
            united_coverage([Zone("above", TRIANGLE), below], 5, 7, WHOLE_RECTANGLE), np.ones((5, 7)), atol=1e-9
        )

    def test_no_zone_covers_nothing(self) -> None:
        assert not united_coverage([], 2, 3, WHOLE_RECTANGLE).any()

    @given(st.lists(SHAPES, min_size=1, max_size=3), st.integers(2, 6), st.integers(2, 6))
    def test_the_share_of_a_cell_is_that_of_points_in_any(
        self, shapes: list[tuple[list[float], float, bool]], rows: int, columns: int
    ) -> None:
        zones = [Zone(str(number), star(*shape)) for number, shape in enumerate(shapes)]
        counted = np.logical_or.reduce([inside(zone.points, rows, columns) for zone in zones]).mean(axis=(1, 3))
        found = united_coverage(zones, rows, columns, WHOLE_RECTANGLE)
        np.testing.assert_allclose(found, counted, atol=0.1)
        assert found.mean() == pytest.approx(counted.mean(), abs=0.03)

    @given(SHAPES, SHAPES)
    def test_order_and_repetition_do_not_matter(
        self, one: tuple[list[float], float, bool], other: tuple[list[float], float, bool]
    ) -> None:
        first, second = Zone("one", star(*one)), Zone("other", star(*other))
        expected = united_coverage([first, second], 4, 4, WHOLE_RECTANGLE)
        for zones in ([second, first], [first, second, first]):
            np.testing.assert_allclose(united_coverage(zones, 4, 4, WHOLE_RECTANGLE), expected, atol=1e-9)
        alone = coverage(first.points, 4, 4, WHOLE_RECTANGLE)
        np.testing.assert_allclose(united_coverage([first, first], 4, 4, WHOLE_RECTANGLE), alone, atol=1e-9)


def heat(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(heat([1, 0, 0, 0]), ("left",), id="all in one"),
        pytest.param(heat([0, 0.5, 1, 0]), ("right", "left"), id="a third and two thirds: the fuller one first"),
        pytest.param(heat([0, 1, 1, 0]), ("left", "right"), id="half and half: in their order"),
        pytest.param(heat([0.4, 0.4, 1, 0]), ("right",), id="below half of the greatest value is background"),
        pytest.param(heat([1, 1, 0, 0.5], [1, 1, 0.5, 0]), ("left", "right"), id="a fifth is enough"),
        pytest.param(heat([1, 1, 0, 0.9], [1, 1, 0, 0]), ("left",), id="less than a fifth is not"),
        pytest.param(heat([0, 0, 0, 0]), (), id="no heat"),
    ],
)
def test_zones_that_hold_heat(values: np.ndarray, expected: tuple[str, ...]) -> None:
    assert overlapped(values, WHOLE_RECTANGLE, [Zone("left", LEFT), Zone("right", RIGHT)]) == expected


def test_an_ignore_zone_is_not_named() -> None:
    zones = [Zone("left", LEFT, ignore=True), Zone("right", RIGHT)]
    assert overlapped(heat([1, 0]), WHOLE_RECTANGLE, zones) == ()
    assert overlapped(heat([0.5, 1]), WHOLE_RECTANGLE, zones) == ("right",)


def test_heat_in_the_bars_of_a_letterbox_does_not_count() -> None:
    """The bars are not the picture: the model saw black there."""
    zones = [Zone("left", LEFT), Zone("right", RIGHT)]
    values = heat([0, 1], [0.6, 0], [0, 1])  # bar, picture, bar
    assert overlapped(values, (0, -1, 1, 2), zones) == ("left",)
