"""From errors to strangeness, on values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors.autoencoder.normal_errors import NormalErrors, fit_normal


def test_two_kinds_are_averaged_in_their_own_spreads() -> None:
    normal = NormalErrors(np.array([[[10]], [[0.5]]], np.float32), np.array([[[4]], [[0.1]]], np.float32))
    errors = np.array([[[[18, 10]], [[0.5, 0.7]]]], np.float32)
    np.testing.assert_allclose(normal.strangeness(errors), [[[1, 1]]], rtol=1e-5)  # (2 + 0) / 2 and (0 + 2) / 2
    np.testing.assert_allclose(normal.strangeness(errors[0]), [[1, 1]], rtol=1e-5)


def test_over_the_picture_they_are_mean_and_spread_of_all_places() -> None:
    errors = np.array([[[[1, 3]]], [[[1, 3]]]], np.float32)
    normal = fit_normal(errors, by_place=False)
    assert (normal.centre.tolist(), normal.spread.tolist()) == ([[[2]]], [[[1]]])


def test_by_place_each_place_has_its_own() -> None:
    """The values of one place are 0 to 20, of the other one always 5: its spread is what all places share."""
    errors = np.stack([np.arange(21), np.full(21, 5)], 1)[:, None, None].astype(np.float32)
    normal = fit_normal(errors, by_place=True)
    shared = errors.std() / 2
    np.testing.assert_allclose(normal.centre, [[[10, 5]]])
    np.testing.assert_allclose(normal.spread, [[[9 + shared, shared]]], rtol=1e-6)  # from 10 to the 95 % quantile, 19


def test_errors_that_never_change_have_a_least_spread() -> None:
    for by_place in (True, False):
        normal = fit_normal(np.full((4, 2, 3, 3), 7, np.float32), by_place=by_place)
        np.testing.assert_allclose(normal.strangeness(np.full((1, 2, 3, 3), 7.002, np.float32)), 2, rtol=1e-2)


@pytest.mark.parametrize(
    ("centre", "spread", "message"),
    [
        (np.zeros((1, 1)), np.ones((1, 1)), r"must be \(K, h, w\), got \(1, 1\)"),
        (np.zeros((1, 1, 1)), np.ones((2, 1, 1)), r"got \(1, 1, 1\) and \(2, 1, 1\)"),
        (np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), "the spread above 0"),
        (np.full((1, 1, 1), np.nan), np.ones((1, 1, 1)), "must be finite"),
    ],
)
def test_what_cannot_be_normal(centre: np.ndarray, spread: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NormalErrors(centre.astype(np.float32), spread.astype(np.float32))


@pytest.mark.parametrize("shape", [(1, 2, 3, 3), (1, 1, 3, 4)])
def test_maps_of_another_detector_are_refused(shape: tuple[int, ...]) -> None:
    normal = fit_normal(np.random.default_rng(0).random((4, 1, 3, 3), np.float32), by_place=True)
    with pytest.raises(ValueError, match=r"expected maps that suit \(1, 3, 3\), got shape"):
        normal.strangeness(np.zeros(shape, np.float32))
