"""From the maps of an ensemble to one map, against values worked by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.detectors.student_teacher.strangeness import NormalMaps, RawMaps, fit_normal

#: Two receptive fields. Errors have the means 3 and 10 and the spreads 1 and 2, variances 1 and 0, and 0.5 and 1.
NORMAL = NormalMaps(
    centre=np.array([[3, 10], [1, 0]], np.float32)[..., None, None],
    spread=np.array([[1, 2], [0.5, 1]], np.float32)[..., None, None],
    weights=np.ones(2, np.float32),
    units=np.ones(2, np.float32),
)


def maps(errors: list[float], variances: list[float], faster: float | None = None) -> RawMaps:
    """Maps of one picture with one cell; a value for each receptive field."""
    one = None if faster is None else np.full((1, 1), faster, np.float32)
    return RawMaps(np.array(errors, np.float32)[:, None, None], np.array(variances, np.float32)[:, None, None], one)


@pytest.mark.parametrize(
    ("errors", "variances", "by_hand"),
    [
        ([3, 10], [1, 0], 0),  # all as usual
        ([5, 10], [1, 0], 1),  # (2 + 0) / 2
        ([5, 14], [2, 0], 3),  # ((2 + 2) + (2 + 0)) / 2
        ([2, 8], [1, -1], -1.5),  # ((−1 + 0) + (−1 − 1)) / 2
    ],
)
def test_errors_and_variances_are_normalised_summed_and_averaged(
    errors: list[float], variances: list[float], by_hand: float
) -> None:
    assert NORMAL.strangeness(maps(errors, variances)) == pytest.approx(by_hand)


@pytest.mark.parametrize(("weights", "by_hand"), [((1, 0), 2), ((0, 1), 1)])
def test_one_of_the_two_can_be_left_out(weights: tuple[int, int], by_hand: float) -> None:
    alone = dataclasses.replace(NORMAL, weights=np.array(weights, np.float32))
    assert alone.strangeness(maps([5, 14], [2, 0])) == pytest.approx(by_hand)


def test_speed_is_added_in_its_own_unit() -> None:
    """By hand: 3 / 2 + 1.5 / 0.5."""
    with_speed = dataclasses.replace(NORMAL, units=np.array([2, 0.5], np.float32))
    assert with_speed.strangeness(maps([5, 14], [2, 0], 1.5)) == pytest.approx(4.5)


def test_several_pictures_are_scored_as_each_alone() -> None:
    random = np.random.default_rng(0)
    many = RawMaps(*(random.normal(size=(4, 2, 3, 5)).astype(np.float32) for _ in range(2)))
    together = NORMAL.strangeness(many)
    assert together.shape == (4, 3, 5)
    for at in range(4):
        np.testing.assert_array_equal(together[at], NORMAL.strangeness(RawMaps(many.errors[at], many.variances[at])))


def test_held_back_footage_is_normalised_to_mean_0_and_spread_1() -> None:
    random = np.random.default_rng(1)
    errors = (random.normal(size=(50, 2, 6, 8)) * [[[2]], [[9]]] + [[[4]], [[-1]]]).astype(np.float32)
    held_back = RawMaps(errors, np.zeros_like(errors))
    normal = fit_normal(held_back, variance=False)
    np.testing.assert_allclose(normal.centre[0, :, 0, 0], errors.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(normal.spread[0, :, 0, 0], errors.std((0, 2, 3)), rtol=1e-4)
    np.testing.assert_array_equal(normal.units, [1, 1])
    found = normal.strangeness(held_back)
    # The mean of two that do not depend on one another.
    assert (found.mean(), found.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(2**-0.5, abs=0.03))


def test_strangeness_and_speed_count_alike() -> None:
    """Ten cells a picture, so that its value is their mean: both units are the spread over pictures."""
    random = np.random.default_rng(2)
    of_pictures = random.normal(size=(400, 1, 1))
    errors = np.broadcast_to(of_pictures[:, None], (400, 1, 2, 5)).astype(np.float32)
    faster = np.broadcast_to(np.abs(30 * of_pictures), (400, 2, 5)).astype(np.float32)
    normal = fit_normal(RawMaps(errors, np.zeros_like(errors), faster), variance=False)
    # Normalised errors have a spread of 1. The spread of |30 z| is 30 · √(1 − 2 / π) = 18.1.
    np.testing.assert_allclose(normal.units, [1, 18.1], rtol=0.05)


def test_each_place_can_be_compared_with_itself() -> None:
    """A place whose error is always 50, one that swings, and one that a thing passes once in 50 pictures.

    By hand, of 0, 1 … 100 the median is 50 and the quantile 0.95 is 95. Half of the spread over all places is added.
    """
    errors = np.zeros((101, 1, 1, 3), np.float32)
    errors[:, 0, 0, 0], errors[:, 0, 0, 1] = 50, np.arange(101)
    errors[[20, 70], 0, 0, 2] = 80
    half = errors.std() / 2
    normal = fit_normal(RawMaps(errors[:1], errors[:1]), RawMaps(errors, errors))
    np.testing.assert_allclose(normal.centre[0, 0, 0], [50, 50, 0])
    np.testing.assert_allclose(normal.spread[0, 0, 0], [half, 45 + half, half], rtol=1e-4)
    with pytest.raises(ValueError, match=r"expected maps that suit \(1, 1, 3\), got shape \(1, 2, 3\)"):
        normal.strangeness(RawMaps(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32)))


def test_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="the error, the variance or both"):
        fit_normal(maps([1, 1], [1, 1]), error=False, variance=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"centre": np.zeros((3, 2), np.float32)}, r"must be \(2, S, h, w\), got \(3, 2\)"),
        ({"spread": np.zeros((2, 2, 1, 1), np.float32)}, "above 0"),
        ({"units": np.array([1, np.nan], np.float32)}, "units must be finite"),
        ({"weights": np.ones(3, np.float32)}, r"must be \(2,\), got \(3,\)"),
    ],
)
def test_what_cannot_be_normal_is_refused(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(NORMAL, **changed)


def test_maps_of_another_number_of_receptive_fields_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected maps that suit \(2, 1, 1\), got shape"):
        NORMAL.strangeness(maps([1], [1]))
