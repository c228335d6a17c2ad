"""A sample in bounded memory: every row has the same chance, however many come at once."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.reservoir import Reservoir


def rows(first: int, last: int) -> np.ndarray:
    return np.arange(first, last, dtype=np.float32)[:, None]


def test_few_rows_are_all_kept_in_their_order() -> None:
    reservoir = Reservoir(10)
    reservoir.add(rows(0, 3))
    reservoir.add(rows(3, 7))
    np.testing.assert_array_equal(reservoir.rows(), rows(0, 7))


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_the_sample_does_not_depend_on_how_many_come_at_once(at_once: int) -> None:
    reservoir = Reservoir(50)
    for first in range(0, 1000, at_once):
        reservoir.add(rows(first, min(first + at_once, 1000)))
    whole = Reservoir(50)
    whole.add(rows(0, 1000))
    np.testing.assert_array_equal(reservoir.rows(), whole.rows())
    assert len(np.unique(reservoir.rows())) == 50


def test_every_row_has_the_same_chance() -> None:
    """2000 samples of 5 out of 20 in four parts: each row is in about a quarter, within five standard deviations."""
    counts = np.zeros(20)
    for seed in range(2000):
        reservoir = Reservoir(5, seed=seed)
        for first in (0, 5, 10, 15):
            reservoir.add(rows(first, first + 5))
        counts[reservoir.rows()[:, 0].astype(int)] += 1
    assert counts.sum() == 10_000
    np.testing.assert_allclose(counts / 2000, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 2000))
