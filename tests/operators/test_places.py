"""Lookups of heat in classes: values by hand, and properties on random maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from operators.places import Box, box_in_shares, class_under, foot_of, heat_box, heat_peak, in_picture, object_in

WALL, PAVING, LAWN, PERSON, CART = range(5)
THINGS = {PERSON, CART}


def heat(*rows: str) -> np.ndarray:
    """A map of tenths: a digit for each cell."""
    return np.array([[int(digit) for digit in row] for row in rows], np.float32) / 10


class TestPeakAndBox:
    def test_a_single_hot_cell(self) -> None:
        values = heat("0000", "0090")
        assert heat_peak(values) == (0.625, 0.75)
        assert heat_box(values) == (0.5, 0.5, 0.75, 1.0)

    def test_cells_from_half_of_the_peak_on_that_touch_by_side_or_corner_are_the_box(self) -> None:
        values = heat(
            "800000",
            "004000",
            "000800",
            "000040",
            "000003",
        )  # fmt: skip
        values[0, 0] = 0.79  # hotter than half, and apart
        assert heat_peak(values) == (3.5 / 6, 0.5)
        assert heat_box(values) == pytest.approx((2 / 6, 1 / 5, 5 / 6, 4 / 5))

    def test_the_middle_of_a_saturated_stretch_is_the_peak(self) -> None:
        assert heat_peak(heat("0999990")) == (0.5, 0.5)

    def test_a_part_in_the_middle_of_the_picture(self) -> None:
        """A centre crop of a 640 × 360 picture, 360 × 360: its left edge is at 140 of 640 pixels."""
        part = box_in_shares((140, 0, 500, 360), 640, 360)
        assert part == (140 / 640, 0, 500 / 640, 1)
        assert heat_box(heat("09", "00"), part) == (0.5, 0.0, 500 / 640, 0.5)
        assert heat_peak(heat("09", "00"), part) == pytest.approx((410 / 640, 0.25))

    def test_what_lies_beyond_the_picture_is_cut_off(self) -> None:
        """A letterbox of a 640 × 320 picture in a square: bars of 160 pixels above and below."""
        part = box_in_shares((0, -160, 640, 480), 640, 320)
        assert part == (0, -0.5, 1, 1.5)
        bar = heat("0090", "0000", "0000", "0000")
        assert heat_peak(bar, part) == (0.625, 0.0)
        assert heat_box(bar, part) == (0.5, 0.0, 0.75, 0.0)
        assert heat_box(heat("0040", "0090", "0000", "0000"), part) == (0.5, 0.0, 0.75, 0.0 + 0.5)

    @pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(3), np.array([[0.0, np.nan]])])
    def test_other_maps_are_refused(self, bad: np.ndarray) -> None:
        for look in (heat_peak, heat_box):
            with pytest.raises(ValueError, match="a heat map must be finite"):
                look(bad.astype(np.float32))

    @given(
        arrays.arrays(
            np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1, width=32)
        )
    )
    def test_the_box_holds_the_peak_and_is_mirrored_with_the_map(self, values: np.ndarray) -> None:
        box, peak = heat_box(values), heat_peak(values)
        assert box.left <= peak.x <= box.right
        assert box.top <= peak.y <= box.bottom
        mirrored = heat_box(values[:, ::-1])
        if np.count_nonzero(values == values.max()) == 1:
            assert (mirrored.left, mirrored.right) == pytest.approx((1 - box.right, 1 - box.left))
            assert (mirrored.top, mirrored.bottom) == (box.top, box.bottom)


class TestClassUnder:
    def test_the_most_frequent_class_of_the_window(self) -> None:
        classes = np.full((20, 40), WALL, np.uint8)
        classes[10:] = LAWN
        classes[4, 10] = PERSON  # one wrong pixel
        assert class_under(classes, (10.5 / 40, 4.5 / 20), window=0.2) == WALL
        assert class_under(classes, (10.5 / 40, 4.5 / 20), window=0.0) == PERSON
        assert class_under(classes, (0.5, 0.8), window=0.2) == LAWN

    def test_among_equals_the_class_at_the_point_wins(self) -> None:
        classes = np.array([[LAWN, WALL, PAVING]], np.uint8)
        assert class_under(classes, (0.5, 0.5), window=1.0) == WALL

    def test_a_thing_in_the_map_is_what_it_says(self) -> None:
        classes = np.full((20, 20), PAVING, np.uint8)
        classes[5:15, 5:15] = CART
        assert class_under(classes, (0.5, 0.5)) == CART

    def test_the_edges_of_the_picture_belong_to_it(self) -> None:
        classes = np.array([[WALL, PAVING], [LAWN, CART]], np.uint8)
        assert [class_under(classes, point) for point in ((0, 0), (1, 0), (0, 1), (1, 1))] == [WALL, PAVING, LAWN, CART]

    def test_a_point_outside_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"must lie in the picture, in shares from 0 to 1; got \(1\.1, 0\)"):
            class_under(np.zeros((2, 2), np.uint8), (1.1, 0))

    @given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
    def test_it_is_a_class_of_the_picture_and_of_a_plain_one_the_only(
        self, rows: int, columns: int, x: float, y: float, window: float
    ) -> None:
        classes = np.random.default_rng(rows * columns).integers(0, 3, (rows, columns), np.uint8)
        assert class_under(classes, (x, y), window) in classes
        assert class_under(np.full((rows, columns), 7, np.uint8), (x, y), window) == 7


class TestObjectIn:
    def test_the_thing_with_the_most_pixels_whatever_the_places_cover(self) -> None:
        classes = np.full((100, 100), PAVING, np.uint8)
        classes[20:40, 20:26] = PERSON  # 120 pixels
        classes[20:25, 30:50] = CART  # 100 pixels
        assert object_in(classes, (0.1, 0.1, 0.6, 0.6), THINGS) == PERSON
        assert object_in(classes, (0.28, 0.1, 0.6, 0.6), THINGS) == CART, "the person is outside"
        assert object_in(classes, (0.1, 0.1, 0.6, 0.6), {CART}) == CART

    def test_a_coarse_box_holds_a_small_thing(self) -> None:
        """A cell of 7 × 7 in a picture of 320 × 180, 46 × 26 pixels, and a bag of 8 × 8: a nineteenth."""
        classes = np.full((180, 320), PAVING, np.uint8)
        classes[70:78, 150:158] = CART
        assert object_in(classes, Box(3 / 7, 2 / 7, 4 / 7, 3 / 7), THINGS) == CART

    def test_a_few_wrong_pixels_are_nothing(self) -> None:
        classes = np.full((100, 100), PAVING, np.uint8)
        classes[30:35, 30:38] = PERSON  # 40 of 2500 pixels: 1.6 %
        assert object_in(classes, (0.2, 0.2, 0.7, 0.7), THINGS) is None
        assert object_in(classes, (0.2, 0.2, 0.7, 0.7), THINGS, least_covered=0.016) == PERSON
        assert object_in(np.full((9, 9), WALL, np.uint8), (0, 0, 1, 1), THINGS, least_covered=0.0) is None

    def test_a_fine_box_beside_a_thing_is_widened(self) -> None:
        """A hot cell of a hundredth of the side, at a leg: the widened box of 5 × 5 pixels reaches the person."""
        classes = np.full((100, 100), PAVING, np.uint8)
        classes[40:60, 52:58] = PERSON
        assert object_in(classes, (0.5, 0.5, 0.51, 0.51), THINGS) == PERSON
        assert object_in(classes, (0.5, 0.5, 0.51, 0.51), THINGS, least_side=0.01) is None

    def test_a_box_at_the_edge_and_one_without_an_area(self) -> None:
        classes = np.full((50, 50), CART, np.uint8)
        for box in ((0, 0, 0, 0), (1, 1, 1, 1), (0.3, 0, 0.5, 0)):
            assert object_in(classes, box, THINGS, least_side=0.0) == CART

    def test_a_box_the_wrong_way_round_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"left and top first; got \(0\.6, 0, 0\.5, 1\)"):
            object_in(np.zeros((2, 2), np.uint8), (0.6, 0, 0.5, 1), THINGS)

    def test_classes_of_another_shape_are_refused(self) -> None:
        for bad in (np.zeros(3, np.uint8), np.zeros((2, 2)), np.zeros((0, 2), np.uint8)):
            with pytest.raises(ValueError, match=r"classes must be uint8 \(H, W\)"):
                object_in(bad, (0, 0, 1, 1), THINGS)

    @given(st.integers(0, 2**32 - 1), st.integers(2, 4))
    def test_a_picture_of_larger_pixels_has_the_same_thing(self, seed: int, factor: int) -> None:
        random = np.random.default_rng(seed)
        classes = random.integers(0, 5, (24, 24), np.uint8)
        left, top = random.integers(0, 12, 2) / 24
        box = (left, top, left + 0.5, top + 0.5)
        larger = classes.repeat(factor, 0).repeat(factor, 1)
        assert object_in(larger, box, THINGS) == object_in(classes, box, THINGS)


class TestFoot:
    def test_the_cart_on_the_walkway_before_the_lawn(self) -> None:
        """The heat is on the cart's middle, behind which the standing scene is lawn."""
        scene = np.full((100, 100), LAWN, np.uint8)
        scene[60:] = PAVING
        picture = scene.copy()
        picture[40:64, 30:50] = CART
        box = (0.32, 0.42, 0.48, 0.58)
        foot = foot_of(picture, box, CART)
        assert foot == (0.405, 0.645), "the pixel below the cart, which reaches below the box"
        assert (class_under(scene, foot), class_under(scene, (0.4, 0.5))) == (PAVING, LAWN)

    def test_the_middle_of_its_lowest_row(self) -> None:
        classes = np.full((10, 10), PAVING, np.uint8)
        classes[2:6, 2:8] = PERSON
        classes[6, [3, 4, 7]] = PERSON  # two feet
        assert foot_of(classes, (0, 0, 1, 1), PERSON) == (0.45, 0.75)

    def test_a_thing_that_leaves_the_picture_stands_at_its_edge(self) -> None:
        classes = np.full((10, 10), PAVING, np.uint8)
        classes[5:, 4:6] = PERSON
        assert foot_of(classes, (0, 0, 1, 0.6), PERSON) == (0.55, 0.95)

    def test_a_box_without_the_thing(self) -> None:
        classes = np.full((10, 10), PAVING, np.uint8)
        classes[8, 8] = CART
        assert foot_of(classes, (0, 0, 1, 1), PERSON) is None
        assert foot_of(classes, (0, 0, 0.5, 0.5), CART) is None

    @given(st.integers(0, 2**32 - 1))
    def test_above_it_is_the_thing_and_at_it_another_class_or_the_edge(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        classes = random.integers(0, 3, (20, 30), np.uint8)
        left, top = random.uniform(0, 0.7, 2)
        foot = foot_of(classes, (left, top, left + 0.3, top + 0.3), WALL)
        if foot is None:
            return
        row, column = int(foot.y * 20), int(foot.x * 30)
        if classes[row, column] == WALL:
            assert row == 19
        else:
            assert classes[row - 1, column] == WALL


def test_heat_in_a_letterboxs_bars_does_not_count() -> None:
    part = box_in_shares((0, -160, 640, 480), 640, 320)  # four rows, of which the first and the last are bars
    seen = in_picture(heat("0090", "0500", "0000", "0080"), part)
    assert np.array_equal(seen, heat("0000", "0500", "0000", "0000"))
    assert heat_peak(seen, part) == (0.375, 0.25)
    assert not in_picture(heat("0090", "0000", "0000", "0000"), part).any()


def test_the_box_is_that_of_cells_connected_by_sides_and_corners() -> None:
    """A line of hot cells that winds through the map is one region; a cell apart from it is none of it."""
    winding = heat("99990", "00009", "09990", "90000", "09990", "00000", "00009")
    assert heat_box(winding) == pytest.approx((0.0, 0.0, 1.0, 5 / 7))
