"""Boxes painted into masks, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.places.boxes import Box, painted
from models.places.masks import MaskError
from operators.figures.segments import VOID

V = VOID


class TestPaintedBoxes:
    def test_fill_their_pixels(self) -> None:
        assert painted([(1, 0, 3, 2)], [7], (3, 4)).tolist() == [[V, 7, 7, V], [V, 7, 7, V], [V, V, V, V]]

    def test_without_boxes_all_is_void(self) -> None:
        assert painted([], [], (1, 2)).tolist() == [[V, V]]

    @pytest.mark.parametrize("turned", [False, True])
    def test_smaller_ones_lie_over_larger_ones(self, turned: bool) -> None:
        boxes, nodes = [(0, 0, 4, 2), (1, 0, 2, 2), (2, 0, 4, 2)], [1, 2, 3]
        if turned:
            boxes, nodes = boxes[::-1], nodes[::-1]
        assert painted(boxes, nodes, (2, 4)).tolist() == [[1, 2, 3, 3]] * 2

    def test_of_equal_ones_the_later_lies_above(self) -> None:
        assert painted([(0, 0, 2, 1), (1, 0, 3, 1)], [1, 2], (1, 3)).tolist() == [[1, 2, 2]]
        assert painted([(1, 0, 3, 1), (0, 0, 2, 1)], [2, 1], (1, 3)).tolist() == [[1, 1, 2]]

    def test_contain_pixels_by_their_middle(self) -> None:
        # Middles of the pixels: 0.5, 1.5, 2.5, 3.5.
        assert painted([(0.5, 0, 2.5, 1)], [1], (1, 4)).tolist() == [[1, 1, V, V]]
        assert painted([(0.6, 0, 2.6, 1)], [1], (1, 4)).tolist() == [[V, 1, 1, V]]
        assert painted([(0.6, 0, 1.4, 1)], [1], (1, 4)).tolist() == [[V, V, V, V]]

    def test_of_void_hide_those_below(self) -> None:
        assert painted([(0, 0, 3, 1), (1, 0, 2, 1)], [1, VOID], (1, 3)).tolist() == [[1, V, 1]]


SIDES = st.floats(0, 6, width=16)


@st.composite
def some_boxes(draw: st.DrawFn) -> list[Box]:
    corners = st.tuples(SIDES, SIDES, SIDES, SIDES).filter(lambda box: box[0] != box[2] and box[1] != box[3])
    found = draw(st.lists(corners, max_size=6))
    return [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in found]


@given(some_boxes())
def test_a_pixel_has_the_node_of_the_smallest_box_about_its_middle(boxes: list[Box]) -> None:
    mask = painted(boxes, range(len(boxes)), (6, 6))
    for row in range(6):
        for column in range(6):
            y, x = row + 0.5, column + 0.5
            about = [
                ((right - left) * (bottom - top), -at)
                for at, (left, top, right, bottom) in enumerate(boxes)
                if left <= x < right and top <= y < bottom
            ]
            assert mask[row, column] == (-min(about)[1] if about else VOID)


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((3, 0, 5, 1), "box [3, 0, 5, 1] lies partly outside the picture"),
        ((-0.5, 0, 2, 1), "box [-0.5, 0, 2, 1] lies partly outside the picture"),
        ((0, -1, 2, 1), "box [0, -1, 2, 1] lies partly outside the picture"),
        ((0, 0, 2, 4), "box [0, 0, 2, 4] lies partly outside the picture"),
        ((2, 1, 2, 2), "box [2, 1, 2, 2] is empty or inverted"),
        ((1, 2, 3, 0), "box [1, 2, 3, 0] is empty or inverted"),
        ((math.nan, 0, 2, 2), "box [nan, 0, 2, 2] has sides that are not finite numbers"),
        ((0, 0, math.inf, 2), "box [0, 0, inf, 2] has sides that are not finite numbers"),
    ],
)
def test_an_impossible_box_is_one_clear_line(box: tuple[float, float, float, float], what: str) -> None:
    with pytest.raises(MaskError) as error:
        painted([(0, 0, 4, 3), box], [1, 1], (3, 4), Path("a/gate.png"))
    assert str(error.value) == (
        f"a/gate.png: {what}; expected [left, top, right, bottom] within 4×3 pixels; correct it, or remove it"
    )


def test_a_box_without_a_node_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expected a node for each of 1 boxes, got 0"):
        painted([(0, 0, 1, 1)], [], (1, 1))
