"""The value of a picture from those of its cells."""

from __future__ import annotations

import numpy as np

from operators.cells import HIGHEST, picture_value


def test_it_is_the_mean_of_the_ten_highest_cells() -> None:
    cells = np.random.default_rng(6).permutation(48).reshape(6, 8).astype(np.float32)
    assert HIGHEST == 10
    assert picture_value(cells) == np.mean(np.arange(38, 48))
    np.testing.assert_array_equal(picture_value(np.stack([cells, cells + 1])), [42.5, 43.5])


def test_a_picture_of_fewer_cells_takes_all() -> None:
    assert picture_value(np.array([[1, 2, 3]], np.float32)) == 2
