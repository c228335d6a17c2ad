"""A .npy file that grows is what numpy writes of the whole array, whatever the parts it came in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.npy_rows import NpyRows


@given(
    parts=st.lists(st.integers(0, 120), max_size=6),
    row=st.sampled_from([(), (3,), (2, 0), (2, 1, 3)]),
    dtype=st.sampled_from([np.float16, np.float32, np.int64]),
)
def test_is_the_whole_array(tmp_path_factory, parts, row, dtype):
    whole = np.arange(sum(parts) * int(np.prod(row))).reshape(sum(parts), *row).astype(dtype)
    file = tmp_path_factory.mktemp("rows") / "grown.npy"
    rows = NpyRows(file, dtype, row)
    at = 0
    for part in parts:
        rows.add(whole[at : at + part])
        at += part
    rows.close()
    found = np.load(file, allow_pickle=False)
    assert found.dtype == dtype
    assert found.shape == whole.shape
    assert np.array_equal(found, whole)
    if whole.size:
        assert np.array_equal(np.load(file, mmap_mode="r"), whole)


def test_rows_of_another_shape(tmp_path):
    rows = NpyRows(tmp_path / "grown.npy", np.float32)
    rows.add(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"rows must be of shape \(3,\), got \(4,\)"):
        rows.add(np.zeros((1, 4)))
    rows.close()


def test_is_not_taken_for_whole_before_it_is(tmp_path):
    rows = NpyRows(tmp_path / "grown.npy", np.float32)
    rows.add(np.ones((1000, 1000)))
    found = np.load(tmp_path / "grown.npy")
    assert len(found) == 0  # its header says so until it is closed
    rows.close()
    assert len(np.load(tmp_path / "grown.npy")) == 1000
