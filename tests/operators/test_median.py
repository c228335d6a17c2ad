"""The median picture against NumPy's own sort."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from operators.median import median_picture


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(2), st.just(3), st.just(3))))
def test_the_median_is_the_middle_of_the_sorted_frames(frames: npt.NDArray[np.uint8]) -> None:
    before = frames.copy()
    found = median_picture(frames)
    np.testing.assert_array_equal(found, np.sort(frames, axis=0)[(len(frames) - 1) // 2])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(frames, before)
    assert not np.shares_memory(found, frames)


@pytest.mark.parametrize("frames", [1, 2, 16, 25, 64])
def test_every_line_of_the_network_is_put_right(frames: int) -> None:
    """The zero-one principle (Knuth 5.3.4): what selects from all steps of 0 and 255 selects from any numbers."""
    ordered = np.tri(frames + 1, frames, -1, dtype=np.uint8).T * 255  # every number of white frames, (T, cases)
    shuffled = np.random.default_rng(frames).permuted(np.tile(ordered, 40), axis=0)
    cases = np.repeat(shuffled[:, np.newaxis, :, np.newaxis], 3, axis=3)
    np.testing.assert_array_equal(median_picture(cases), np.sort(cases, axis=0)[(frames - 1) // 2])


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.float32),
    ],
    ids=["none", "no time", "four channels", "float"],
)
def test_other_frames_are_refused(frames: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 \(T, H, W, 3\) with T >= 1, got"):
        median_picture(frames)
