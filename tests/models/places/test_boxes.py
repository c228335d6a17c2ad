"""Boxes painted as masks, worked out by hand."""

from __future__ import annotations

import math

import pytest

from models.places.boxes import Box, painted
from models.places.masks import MaskError
from operators.figures.segments import VOID

o = VOID


def of(*boxes: Box) -> list[tuple[Box, str]]:
    return [(box, f"boxes.txt: line {number}") for number, box in enumerate(boxes, 1)]


def test_a_box_ends_before_its_right_and_bottom() -> None:
    mask = painted(of(Box(1, 1, 0, 3, 2)), [7, 8], (3, 4))
    assert mask.dtype == "int64"
    assert mask.tolist() == [[o, 8, 8, o], [o, 8, 8, o], [o, o, o, o]]


@pytest.mark.parametrize("swapped", [False, True])
def test_smaller_boxes_lie_over_larger_ones_in_any_order(swapped: bool) -> None:
    large, small = Box(0, 0, 0, 4, 2), Box(1, 1, 0, 2, 1)
    boxes = of(small, large) if swapped else of(large, small)
    assert painted(boxes, [5, 6], (2, 4)).tolist() == [[5, 6, 5, 5], [5, 5, 5, 5]]


def test_of_equal_boxes_the_later_one_lies_on_top() -> None:
    assert painted(of(Box(0, 0, 0, 2, 1), Box(1, 1, 0, 3, 1)), [5, 6], (1, 3)).tolist() == [[5, 6, 6]]


def test_a_box_has_the_pixels_whose_centres_it_contains() -> None:
    """Centres at 0.5, 1.5, 2.5 and 3.5: from 0.6 to 2.6 it contains the middle two."""
    assert painted(of(Box(0, 0.6, 0, 2.6, 1)), [5], (1, 4)).tolist() == [[o, 5, 5, o]]


def test_a_void_label_hides_what_lies_under_it() -> None:
    assert painted(of(Box(0, 0, 0, 3, 1), Box(1, 1, 0, 2, 1)), [5, VOID], (1, 3)).tolist() == [[5, o, 5]]


def test_no_boxes_leave_the_picture_void() -> None:
    assert painted([], [5], (1, 2)).tolist() == [[o, o]]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (Box(0, 2, 0, 5, 1), r"box \(2, 0, 5, 1\) is partly outside of the picture of 4×3 pixels"),
        (Box(0, -1, 0, 2, 1), r"box \(-1, 0, 2, 1\) is partly outside"),
        (Box(0, 0, 2, 1, 4), "partly outside"),
        (Box(0, 0, -1, 1, 1), "partly outside"),
        (Box(0, 2, 0, 2, 1), r"box \(2, 0, 2, 1\) is empty; expected left < right and top < bottom"),
        (Box(0, 0, 2, 1, 1), "is empty"),
        (Box(0, 0, 0, math.nan, 1), r"box \(0, 0, nan, 1\) is not finite"),
        (Box(0, -math.inf, 0, 1, 1), "is not finite"),
        (Box(1, 0, 0, 1, 1), r"unknown label \(got 1\); expected 0 to 0"),
        (Box(-1, 0, 0, 1, 1), r"unknown label \(got -1\)"),
    ],
)
def test_a_box_that_cannot_be_painted_is_named(box: Box, message: str) -> None:
    with pytest.raises(MaskError, match=message) as error:
        painted(of(Box(0, 0, 0, 1, 1), box), [5], (3, 4))
    assert str(error.value).startswith("boxes.txt: line 2: ")
    assert "\n" not in str(error.value)


def test_each_bad_box_has_a_line() -> None:
    with pytest.raises(MaskError) as error:
        painted(of(Box(0, 0, 0, 9, 1), Box(0, 0, 0, 0, 1)), [5], (3, 4))
    assert [line.split(": box")[0] for line in str(error.value).splitlines()] == [
        "boxes.txt: line 1",
        "boxes.txt: line 2",
    ]
