"""Random views of a clip: shapes, determinism, and frames that are changed alike."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from models.alike.clips.views import ClipViews, ClipViewsRecipe

AS_IT_IS = ClipViewsRecipe(
    number=3, lengths=1, speeds=(1, 1), least_area=1, flip=0, greyscale=0, jitter=(0, 0, 0, 0), jittered=0
)


def stretch(frames: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, 12, 20, 3), np.uint8)


def changed(**settings: object) -> ClipViewsRecipe:
    return ClipViewsRecipe.model_validate({**AS_IT_IS.model_dump(), **settings})


def test_the_first_view_is_the_clip_in_the_middle_and_the_others_have_its_size() -> None:
    views = ClipViews(ClipViewsRecipe(number=5), 4, 0)
    film = stretch(views.frames_read)
    found = views(film)
    assert (found.shape, found.dtype) == ((6, 4, 12, 20, 3), np.uint8)
    assert np.array_equal(found[0], film[2:6])


def test_views_depend_on_the_pixels_and_the_seed_alone() -> None:
    one, other = (ClipViews(ClipViewsRecipe(), 4, seed) for seed in (0, 1))
    first, second = stretch(), stretch(seed=1)
    expected = one(first)
    one(second)  # drawn in between
    assert np.array_equal(one(first), expected)
    assert not np.array_equal(other(first), expected)


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    # A crop of the whole picture keeps its aspect ratio only by chance, so a picture of one colour is taken.
    film = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None] * 60, (4, 12, 20, 3))
    assert np.array_equal(ClipViews(AS_IT_IS, 4, 0)(film), np.stack([film] * 4))


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_the_speed_is_the_number_of_frames_between_two_of_a_view(speed: float) -> None:
    film = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None, None], (16, 12, 20, 3))
    views = ClipViews(changed(lengths=2, speeds=(speed, speed), number=20), 8, 0)(film)[1:]
    numbers = views[:, :, 0, 0, 0].astype(float)
    assert np.abs(np.diff(numbers, axis=1) - speed).max() <= 1, "rounding to whole frames"
    assert np.allclose(numbers[:, -1] - numbers[:, 0], 7 * speed, atol=1)
    if speed < 2:
        assert len({int(first) for first in numbers[:, 0]}) > 1, "moments differ"


def test_all_frames_of_a_view_are_changed_alike() -> None:
    film = np.broadcast_to(stretch(1), (8, 12, 20, 3))  # a still film stays one
    for view in ClipViews(ClipViewsRecipe(number=10), 4, 0)(film):
        assert (view == view[:1]).all()


def test_a_mirrored_view() -> None:
    film = np.zeros((4, 12, 20, 3), np.uint8)
    film[:, :, :10] = 200
    for view in ClipViews(changed(flip=1, number=4), 4, 0)(film)[1:]:
        assert view[..., -1, 0].max() > view[..., 0, 0].max()


def test_a_view_without_colours() -> None:
    for view in ClipViews(changed(greyscale=1), 8, 0)(stretch())[1:]:
        assert (view[..., :1] == view).all()


def test_a_stretch_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a stretch must have 8 frames, got 7"):
        ClipViews(ClipViewsRecipe(), 4, 0)(stretch(7))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"speeds": (1.2, 0.8)}, "the least must not be above the highest, got 1.2 and 0.8"),
        ({"lengths": 1, "speeds": (1, 1.5)}, "needs 1.5 lengths of a clip, got lengths 1"),
        ({"number": 1}, "greater than or equal to 2"),
    ],
)
def test_recipes_that_cannot_be(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ClipViewsRecipe.model_validate(settings)
