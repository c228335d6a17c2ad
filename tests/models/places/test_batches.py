"""Batches: their proportion, their order, and the views of a picture."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from place_squares import Squares

from models.places.batches import Batches, random_view, whole_view
from models.places.data_set import PlaceSample
from models.places.recipe import Views

VIEWS = Views(size=(48, 64), crop=(32, 40), zoom=(1.0, 1.5), flip=True)


def new_batches(seed: int = 0) -> tuple[Batches, Squares, Squares]:
    masks, boxes = Squares("masks", 5, 1), Squares("boxes", 7, 2)
    return Batches({"masks": masks, "boxes": boxes}, {"masks": 1, "boxes": 3}, VIEWS, seed), masks, boxes


def test_a_batch_has_the_stated_shares():
    batch = new_batches()[0].at(0)
    assert batch.pictures.shape == (4, 32, 40, 3)
    assert batch.pictures.dtype == torch.uint8
    assert batch.nodes.shape == (4, 32, 40)
    assert batch.boxes.tolist() == [False, True, True, True]


def test_every_picture_of_a_set_is_read_before_one_is_read_again():
    batches, masks, boxes = new_batches()
    for step in range(14):
        batches.at(step)
    assert all(set(masks.read[first : first + 5]) == set(range(5)) for first in (0, 5))
    assert [Counter(boxes.read[first : first + 7]) for first in range(0, 42, 7)] == [Counter(range(7))] * 6
    assert masks.read[:5] != masks.read[5:10]


def test_a_step_draws_the_same_whatever_was_drawn_before():
    first, again, other = new_batches()[0], new_batches()[0], new_batches(1)[0]
    for step in range(6):
        first.at(step)
    assert all(torch.equal(a, b) for a, b in zip(first.at(6), again.at(6), strict=True))
    assert not torch.equal(again.at(6).pictures, other.at(6).pictures)


def coordinates(height: int, width: int) -> PlaceSample:
    """A picture in which each pixel knows its place: red the column, green the row; its node is both."""
    y, x = np.mgrid[:height, :width]
    return PlaceSample(np.stack([x, y, 0 * x], axis=2).astype(np.uint8), 1000 * y + x)


@given(seed=st.integers(0, 10_000), height=st.integers(20, 200), width=st.integers(20, 200), flip=st.booleans())
def test_picture_and_nodes_of_a_view_show_the_same_place(seed, height, width, flip):
    views = Views(size=(48, 64), crop=(32, 40), zoom=(1.0, 2.0), flip=flip)
    view = random_view(coordinates(height, width), views, np.random.default_rng(seed))
    assert view.picture.shape == (32, 40, 3)
    rows, columns = np.divmod(view.nodes, 1000)
    # The middle of a view's pixel lies in the node's pixel; the picture is an average around it. One level is for
    # rounding, and the rest for the averages at the picture's margins.
    slack = 1.5 + max(height / 48, width / 64)
    assert np.abs(view.picture[..., 0] - columns.astype(float)).max() <= slack
    assert np.abs(view.picture[..., 1] - rows.astype(float)).max() <= slack
    assert rows.min() >= 0
    assert rows.max() < height
    assert columns.max() < width


def test_a_view_never_leaves_out_more_than_the_crop_and_the_zoom():
    """Of 96 × 128 that just covers 48 × 64 with 1/2, zoom 1.5 and a crop of 32 × 40 leave 42.7 × 53.3 pixels."""
    views = Views(size=(48, 64), crop=(32, 40), zoom=(1.5, 1.5))
    view = random_view(coordinates(96, 128), views, np.random.default_rng(0))
    rows, columns = np.divmod(view.nodes, 1000)
    assert np.ptp(rows) == pytest.approx(32 / 0.75, abs=2)
    assert np.ptp(columns) == pytest.approx(40 / 0.75, abs=2)


def test_half_of_the_views_are_mirrored():
    def mirrored(seed: int) -> bool:
        nodes = random_view(coordinates(48, 64), VIEWS, np.random.default_rng(seed)).nodes
        return bool(nodes[0, 0] > nodes[0, -1])

    share = np.mean([mirrored(seed) for seed in range(400)])
    assert share == pytest.approx(0.5, abs=0.1)  # four deviations of 400 draws


def test_a_whole_view_scales_by_nearest_and_keeps_a_picture_of_its_size():
    sample = coordinates(4, 6)
    assert np.array_equal(whole_view(sample, (2, 3)).nodes, [[1001, 1003, 1005], [3001, 3003, 3005]])
    same = whole_view(sample, (4, 6))
    assert np.array_equal(same.picture, sample.picture)
    assert np.array_equal(same.nodes, sample.nodes)
