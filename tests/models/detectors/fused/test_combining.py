"""Maps that are combined: values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors.fused.combining import combined
from operators.rarity import TAIL_FROM, Rarity

#: A tenth of the values are above 2, and a tenth of those above each further 1: p of 2, 3 and 4 is 0.1, 0.01 and 0.001.
ONE = Rarity(np.array([0.0, 2.0]), np.array([0.0, TAIL_FROM]), 1 / np.log(10))
#: The same at ten times the values, and 100 higher.
OTHER = Rarity(np.array([100.0, 120.0]), np.array([0.0, TAIL_FROM]), 10 / np.log(10))
MAPS = [np.array([[3, 2, 0, -1]], np.float32), np.array([[130, 100, 100, 140]], np.float32)]


def test_decades_are_summed() -> None:
    """0.01 · 0.01; 0.1 · 1; 1 · 1; 1 · 0.001."""
    np.testing.assert_allclose(combined(MAPS, [ONE, OTHER], "decades"), [[4, 1, 0, 3]], atol=1e-6)


def test_a_cell_that_one_member_finds_usual_lowers_the_sum() -> None:
    """The tails' lines are v − 1 and v / 10 − 11: 2 + 2, 1 − 1, −1 − 1, −2 + 3."""
    np.testing.assert_allclose(combined(MAPS, [ONE, OTHER], "sum"), [[4, 0, -2, 1]], atol=1e-5)


def test_members_have_equal_weights_whatever_their_scales() -> None:
    for combination in ("decades", "sum"):
        found = combined([MAPS[0], MAPS[0]], [ONE, ONE], combination)
        scaled = combined([MAPS[0], 10 * MAPS[0] + 100], [ONE, OTHER], combination)
        np.testing.assert_allclose(found, scaled, atol=1e-5)


def test_maps_of_different_grids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps must be of one shape, got \(1, 4\), \(4, 1\)"):
        combined([MAPS[0], MAPS[1].T], [ONE, OTHER], "sum")


def test_an_unknown_combination_is_refused() -> None:
    with pytest.raises(ValueError, match="a combination must be decades or sum, got 'max'"):
        combined(MAPS, [ONE, OTHER], "max")
