"""The value of a picture from those of its cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from operators.cells import HIGHEST, judged, picture_value
from operators.rarity import TAIL_FROM, Rarity


def test_it_is_the_mean_of_the_ten_highest_cells() -> None:
    cells = np.random.default_rng(6).permutation(48).reshape(6, 8).astype(np.float32)
    assert HIGHEST == 10
    assert picture_value(cells) == np.mean(np.arange(38, 48))
    np.testing.assert_array_equal(picture_value(np.stack([cells, cells + 1])), [42.5, 43.5])


def test_a_picture_of_fewer_cells_takes_all() -> None:
    assert picture_value(np.array([[1, 2, 3]], np.float32)) == 2


class TestMask:
    """A value of 1 is one in ten, and each further 1 a tenth of that: scores 1/4, 2/5, 3/6, …"""

    RARITY = Rarity(np.array([0.0, 1.0]), np.array([0.0, TAIL_FROM]), 1 / np.log(10))
    FEATURES = np.arange(6, dtype=np.float32).reshape(2, 3)

    def cells(self) -> npt.NDArray[np.float32]:
        """Two pictures of 3 × 8 cells of value 1; the first one has ten of value 3 on top, the other one none."""
        cells = np.ones((2, 3, 8), np.float32)
        cells[0].flat[:10] = 3
        return cells

    def test_ignored_cells_count_for_nothing(self) -> None:
        cells = self.cells()
        mask = np.zeros(cells.shape, np.uint8)
        mask[0].flat[:10] = 255
        plain, masked = (judged(cells, self.FEATURES, self.RARITY, given) for given in (None, mask))
        np.testing.assert_allclose(plain["SCORE"], [[1 / 2], [1 / 4]], rtol=1e-6)
        np.testing.assert_allclose(masked["SCORE"], [[1 / 4], [1 / 4]], rtol=1e-6)
        assert not masked["HEAT"][0].flat[:10].any()
        np.testing.assert_array_equal(masked["HEAT"][0].flat[10:], plain["HEAT"][0].flat[10:])
        np.testing.assert_array_equal(masked["HEAT"][1], plain["HEAT"][1])
        assert masked["FEATURES"] is self.FEATURES

    def test_the_others_count_as_before(self) -> None:
        cells = self.cells()
        mask = np.zeros(cells.shape, np.uint8)
        mask[0].flat[12:] = 1  # twelve are left, ten of them hot
        np.testing.assert_allclose(judged(cells, self.FEATURES, self.RARITY, mask)["SCORE"][0], 1 / 2, rtol=1e-6)

    def test_ten_are_averaged_also_where_fewer_are_left(self) -> None:
        cells = self.cells()
        cells[0].flat[:9] = 5  # ignored
        mask = np.ones(cells.shape, np.uint8)
        mask[0].flat[9:11] = 0  # one of value 3, one of value 1; eight more count as the lowest, 1: the mean is 1.2
        np.testing.assert_allclose(judged(cells, self.FEATURES, self.RARITY, mask)["SCORE"][0], 1.2 / 4.2, rtol=1e-6)

    @given(
        hnp.arrays(np.float32, (3, 4, 5), elements=st.floats(-20, 20, width=32)),
        hnp.arrays(np.uint8, (3, 4, 5), elements=st.sampled_from([0, 1, 255])),
    )
    def test_a_mask_never_raises_a_score(self, cells: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]) -> None:
        """Nor does it matter there how much higher the ignored cells are than all others."""
        features = np.zeros((3, 1), np.float32)
        whole = judged(cells, features, self.RARITY)["SCORE"]
        masked = judged(cells, features, self.RARITY, mask)["SCORE"]
        assert (masked <= whole).all()
        left = (mask == 0).sum(axis=(1, 2)) >= HIGHEST
        louder = judged(np.where(mask, cells + 9, cells), features, self.RARITY, mask)["SCORE"]
        np.testing.assert_array_equal(louder[left], masked[left])

    def test_nothing_abnormal_is_left_where_all_is_ignored(self) -> None:
        found = judged(self.cells(), self.FEATURES, self.RARITY, np.ones((2, 3, 8), np.uint8))
        assert not found["SCORE"].any()
        assert not found["HEAT"].any()

    def test_a_mask_that_ignores_nothing_changes_no_bit(self) -> None:
        cells = np.random.default_rng(3).gamma(1, size=(5, 6, 9)).astype(np.float32)
        features = np.zeros((5, 1), np.float32)
        plain = judged(cells, features, self.RARITY)
        masked = judged(cells, features, self.RARITY, np.zeros(cells.shape, np.uint8))
        assert all(plain[name].tobytes() == masked[name].tobytes() for name in plain)

    def test_a_mask_of_another_shape_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"the shape of the cells, \(2, 3, 8\), got \(2, 8, 3\)"):
            judged(self.cells(), self.FEATURES, self.RARITY, np.zeros((2, 8, 3), np.uint8))
