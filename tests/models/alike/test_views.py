"""Views of pictures: sizes, what the recipe turns off, and draws that repeat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.alike.recipe import Strong, Weak
from models.alike.views import strong_views, viewed, weak_views, whole_pictures
from models.jobs.checkpoints import own_random_numbers

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 12, 16, 3), dtype=np.uint8)
GREY = COLOUR[..., :1]
#: A half bright left of the middle: only a flip or a rotation makes the right half brighter.
HALF = np.zeros((40, 8, 8, 1), np.uint8)
HALF[:, :, :4] = 200
STILL = Weak(least_area=1, flip=False, jitter=0, grey=0)


def shown(pixels, transform, seed=0):
    with own_random_numbers(seed, devices=()):
        return viewed(pixels, transform)


@pytest.mark.parametrize("pixels", [COLOUR, GREY])
@pytest.mark.parametrize(
    "views", [lambda size: weak_views(Weak(degrees=10, shift=0.1), size), lambda size: strong_views(Strong(), size)]
)
def test_a_view_has_the_picture_s_size_and_values_in_0_to_1(pixels, views):
    found = shown(pixels, views(pixels.shape[1:]))
    assert found.shape == (6, pixels.shape[3], 12, 16)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("views", [lambda size: weak_views(Weak(), size), lambda size: strong_views(Strong(), size)])
def test_draws_repeat_by_the_seed_and_differ_between_pictures(views):
    transform = views(COLOUR.shape[1:])
    assert torch.equal(shown(COLOUR, transform), shown(COLOUR, transform))
    assert not torch.equal(shown(COLOUR, transform), shown(COLOUR, transform, seed=1))
    same = np.repeat(COLOUR[:1], 6, axis=0)
    found = shown(same, transform)
    assert not any(torch.equal(found[0], found[at]) for at in range(1, 6))


def test_whole_pictures_are_what_the_file_holds():
    found = whole_pictures(COLOUR)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy() * 255, COLOUR, atol=1e-4)


def test_a_recipe_without_changes_shows_whole_pictures():
    assert torch.equal(shown(COLOUR, weak_views(STILL, COLOUR.shape[1:])), whole_pictures(COLOUR))
    unchanged = Strong(flip=False, changes=0, cutout=0)
    assert torch.equal(shown(COLOUR, strong_views(unchanged, COLOUR.shape[1:])), whole_pictures(COLOUR))


def test_digits_are_mirrored_only_where_the_recipe_says_so():
    def mirrored(transform):
        return float((shown(HALF, transform)[..., 4:].mean((1, 2, 3)) > 0.3).float().mean())

    still, plain = STILL, Strong(flip=False, changes=0, cutout=0)
    assert mirrored(weak_views(still, (8, 8, 1))) == 0
    assert 0.25 < mirrored(weak_views(still.model_copy(update={"flip": True}), (8, 8, 1))) < 0.75
    assert mirrored(strong_views(plain, (8, 8, 1))) == 0
    assert 0.25 < mirrored(strong_views(plain.model_copy(update={"flip": True}), (8, 8, 1))) < 0.75


def test_a_crop_enlarges_a_part_of_the_area_that_the_recipe_allows():
    """A picture with one bright pixel of 400: a crop of at least a quarter enlarges it to at most four."""
    pixels = np.zeros((60, 20, 20, 1), np.uint8)
    pixels[:, 10, 10] = 255
    found = shown(pixels, weak_views(STILL.model_copy(update={"least_area": 0.25}), (20, 20, 1)))
    bright = found.sum((1, 2, 3)).numpy()
    assert (bright == 0).any(), "a crop leaves the pixel out"
    assert bright.max() < 4.5
    assert bright.max() > 1.5


def test_grey_pictures_have_no_colours_to_change():
    """Saturation and hue at their most would be errors of torchvision's for one channel, if they were used."""
    strange = Weak(saturation=1, hue=0.5, grey=1, brightness=0, contrast=0, jitter=1, least_area=1, flip=False)
    assert torch.equal(shown(GREY, weak_views(strange, GREY.shape[1:])), whole_pictures(GREY))
    found = shown(COLOUR, weak_views(strange, COLOUR.shape[1:]))
    assert torch.allclose(found[:, 0], found[:, 1])  # the share 1 of views without colours


def test_the_cutout_is_one_black_square_of_at_most_the_recipe_s_side():
    white = np.full((200, 16, 16, 1), 255, np.uint8)
    black = (shown(white, strong_views(Strong(flip=False, changes=0, cutout=0.5), (16, 16, 1))) == 0)[:, 0].numpy()
    sides = set()
    for mask in black:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert len(rows) == len(columns)
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        sides.add(len(rows))
    assert max(sides) == 8
    assert min(sides) <= 2


def test_pictures_may_share_a_draw_in_groups():
    same = np.repeat(COLOUR[:1], 6, axis=0)
    transform = weak_views(Weak(), COLOUR.shape[1:])
    with own_random_numbers(0, devices=()):
        found = viewed(same, transform, together=4)
    assert all(torch.equal(found[0], found[at]) for at in range(1, 4))
    assert torch.equal(found[4], found[5])
    assert not torch.equal(found[0], found[4])
