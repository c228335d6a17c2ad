"""Statistics of motion: fields worked out by hand, footage with incidents among it, and a shaking camera."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.motion import CELL, MotionHistogram, RowStatistics, cell_motion, cell_speeds

SPECK = 48.0  #: pixels


def still(rows: int = 6, columns: int = 10) -> np.ndarray:
    return np.zeros((rows * CELL, columns * CELL, 2), np.float32)


def walkers(seed: int, frames: int = 400, rows: int = 12, columns: int = 20) -> np.ndarray:
    """Motion of cells: a fifth moves, faster in lower rows, with a spread of a fifth; half as fast up or down."""
    drawn = np.random.default_rng(seed)
    centre = np.array([1, 0.5])[:, None, None] * np.linspace(2, 8, rows)[:, None]
    speeds = centre * (1 + 0.2 * drawn.standard_normal((frames, 2, rows, columns)))
    return np.where(drawn.random(speeds.shape) < 0.2, speeds, 0).astype(np.float32)


class TestCellSpeeds:
    def test_a_moving_thing_has_its_own_speed_in_its_cells_and_the_ones_around(self) -> None:
        flow = still()
        flow[16:24, 24:32] = (3, 4)  # one cell of 64 pixels, 5 pixels a gap
        speeds, shake = cell_speeds(flow)
        expected = np.zeros((6, 10))
        expected[1:4, 2:5] = 64 * 5 / (64 + SPECK)
        np.testing.assert_allclose(speeds, expected, rtol=1e-5)
        np.testing.assert_array_equal(shake, [0, 0])

    def test_still_pixels_beside_it_do_not_slow_it_down(self) -> None:
        """Half of a cell moves: the mean is over what moves."""
        flow = still()
        flow[16:24, 24:28] = (3, 4)
        speeds, _ = cell_speeds(flow)
        assert speeds[2, 3] == pytest.approx(32 * 5 / (32 + SPECK))

    @given(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32))
    def test_shake_is_subtracted(self, right: float, down: float) -> None:
        flow = still()
        flow[16:32, 24:48] = (3, 4)
        shaken, shake = cell_speeds(flow + np.array([right, down], np.float32))
        np.testing.assert_allclose(shaken, cell_speeds(flow)[0], atol=1e-4)
        np.testing.assert_allclose(shake, [right, down], rtol=1e-6)

    def test_the_border_does_not_count(self) -> None:
        """A thing that enters: half of it is in the outermost cells."""
        flow = still()
        flow[16:24, 0:16] = (3, 4)
        speeds, _ = cell_speeds(flow)
        assert speeds[2, 0] == pytest.approx(64 * 5 / (64 + SPECK))
        flow[16:24, 8:16] = 0
        np.testing.assert_array_equal(cell_speeds(flow)[0], 0)

    def test_noise_below_the_floor_is_stillness(self) -> None:
        flow = np.random.default_rng(1).uniform(-0.2, 0.2, still().shape).astype(np.float32)
        np.testing.assert_array_equal(cell_speeds(flow)[0], 0)

    @pytest.mark.parametrize("shape", [(48, 80), (48, 80, 3), (47, 80, 2), (0, 8, 2)])
    def test_another_shape_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"flow must be \(H, W, 2\), H and W multiples of 8, got"):
            cell_speeds(np.zeros(shape, np.float32))


class TestCellMotion:
    def test_it_is_the_speed_and_its_part_up_or_down(self) -> None:
        """By hand: 64 pixels move 3 to the right and 4 up or down, beside 48 that stand for stillness."""
        flow = still()
        flow[16:24, 24:32] = (3, 4)
        flow[16:24, 48:56] = (3, -4)
        found = cell_motion(flow)
        for column in (3, 6):
            np.testing.assert_allclose(found[:, 2, column], np.array([5, 4]) * 64 / (64 + SPECK), rtol=1e-5)

    def test_its_speed_is_that_of_the_cells_alone(self) -> None:
        flow = np.random.default_rng(5).normal(0, 3, still().shape).astype(np.float32)
        np.testing.assert_array_equal(cell_motion(flow)[0], cell_speeds(flow)[0])

    def test_it_is_the_mean_of_moving_pixels_in_every_window(self) -> None:
        """Window by window and in double precision, of a field in which everything moves, and the camera with it."""
        flow = np.random.default_rng(6).normal((1, -2), 3, still().shape).astype(np.float32)
        own = flow - np.median(flow[::2, ::2].astype(np.float64), axis=(0, 1))
        speed = np.hypot(own[..., 0], own[..., 1])
        moving = np.clip(speed / 0.5 - 1, 0, 1)
        inner = np.zeros(moving.shape, bool)
        inner[CELL:-CELL, CELL:-CELL] = True
        moving[~inner] = 0
        found = cell_motion(flow)
        for row, column in np.ndindex(found.shape[1:]):
            window = np.s_[max(row - 1, 0) * CELL : (row + 2) * CELL, max(column - 1, 0) * CELL : (column + 2) * CELL]
            of_window = np.stack([speed, np.abs(own[..., 1])])[:, *window]
            expected = (of_window * moving[window]).sum(axis=(1, 2)) / (moving[window].sum() + SPECK)
            np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-4, atol=1e-6)

    def test_a_level_motion_is_none_up_or_down(self) -> None:
        flow = still()
        flow[16:32, 24:48, 0] = 6
        np.testing.assert_array_equal(cell_motion(flow)[1], 0)


class TestRowStatistics:
    def test_they_are_high_quantiles_of_what_moves(self) -> None:
        """Of a normal distribution, the quantiles 0.75 and 0.95 lie 0.674 and 1.645 standard deviations up."""
        histogram = MotionHistogram(12)
        histogram.add(walkers(1))
        found = histogram.statistics()
        mean = np.array([[1], [0.5]]) * np.linspace(2, 8, 12)
        np.testing.assert_allclose(found.centre, mean * (1 + 0.2 * 0.674), rtol=0.03)
        # A spread up or down is one and a half times as wide, so that a deviation counts less.
        np.testing.assert_allclose(found.spread, [[1], [1.5]] * (0.2 * 0.971 * mean), rtol=0.2)

    def test_two_per_cent_of_incidents_shift_them_little(self) -> None:
        clean, dirty = MotionHistogram(12), MotionHistogram(12)
        footage = walkers(2)
        clean.add(footage)
        footage[:8] *= 5
        dirty.add(footage)
        before, after = clean.statistics(), dirty.statistics()
        np.testing.assert_allclose(after.centre, before.centre, rtol=0.02)
        np.testing.assert_allclose(after.spread, before.spread, rtol=0.4)
        moving = footage[:, 0, 0][footage[:, 0, 0] > 0]
        assert np.std(moving) > 2 * before.spread[0, 0]  # what a standard deviation would have made of it

    def test_footage_in_parts_gives_the_same(self) -> None:
        whole, parts = MotionHistogram(12), MotionHistogram(12)
        footage = walkers(3)
        whole.add(footage)
        for picture in footage:
            parts.add(picture)
        np.testing.assert_array_equal(whole.counts, parts.counts)

    def test_a_row_in_which_nothing_moves_takes_the_rows_around_it(self) -> None:
        histogram = MotionHistogram(12)
        footage = walkers(4)
        before = footage.copy()
        footage[:, :, 5] = 0
        histogram.add(footage)
        whole = MotionHistogram(12)
        whole.add(before)
        np.testing.assert_allclose(histogram.statistics().centre[:, 5], whole.statistics().centre[:, 5], rtol=0.1)

    def test_a_camera_at_which_nothing_moves_has_slow_ones(self) -> None:
        found = MotionHistogram(4).statistics()
        np.testing.assert_allclose(found.centre, 1.0)
        np.testing.assert_allclose(found.spread, [[0.5] * 4, [0.75] * 4])

    def test_a_deviation_is_the_higher_one_in_spreads_of_its_row(self) -> None:
        """By hand: (2 − 1) / 0.5, (1 − 1) / 0.5, (2 − 4) / 2, (8 − 4) / 2; up or down, 3 / 1 in one cell."""
        rows = RowStatistics(np.array([[1, 4], [0, 0]], np.float32), np.array([[0.5, 2], [1, 1]], np.float32))
        motion = np.array([[[2, 1], [2, 8]], [[0, 3], [0, 0]]], np.float32)
        expected = [[2, 3], [0, 2]]
        np.testing.assert_allclose(rows.deviations(motion), expected)
        np.testing.assert_allclose(rows.deviations(np.stack([motion, motion])), [expected, expected])

    @pytest.mark.parametrize(
        ("centre", "spread", "message"),
        [
            ([[1, 2], [1, 2]], [[1], [1]], "two centres and spreads a row"),
            ([1, 2], [1, 2], "two centres and spreads a row"),
            ([[1], [1]], [[0], [1]], "spread above 0"),
            ([[np.nan], [1]], [[1], [1]], "finite"),
        ],
    )
    def test_statistics_that_cannot_be_are_refused(
        self, centre: list[object], spread: list[object], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            RowStatistics(np.array(centre, np.float32), np.array(spread, np.float32))
