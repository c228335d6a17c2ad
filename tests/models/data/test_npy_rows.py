"""A .npy file that grows is what numpy writes of the whole array; rows that are read are those that numpy reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.npy_rows import NpyFile, NpyRows


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


# --- read -------------------------------------------------------------------------------------------------------------


def indices(n):
    """Of the first axis of an array of n rows: ordinals, alone or many in any order, slices, yes or no for each row."""
    masks = st.lists(st.booleans(), min_size=n, max_size=n).map(lambda some: np.array(some, bool))
    if not n:
        return st.slices(n) | masks
    ordinals = st.integers(-n, n - 1)
    many = st.lists(ordinals, max_size=6).map(lambda some: np.array(some, np.int64))
    return st.slices(n) | masks | ordinals | many


@given(
    data=st.data(),
    n=st.integers(0, 9),
    row=st.sampled_from([(), (3,), (2, 0), (2, 1, 3)]),
    dtype=st.sampled_from([np.float16, np.uint8, np.int64]),
)
def test_rows_of_a_file_are_those_that_numpy_gives(tmp_path_factory, data, n, row, dtype):
    whole = np.arange(n * int(np.prod(row))).reshape(n, *row).astype(dtype)
    file = tmp_path_factory.mktemp("rows") / "a.npy"
    np.save(file, whole)
    found = NpyFile(file)
    assert (found.shape, found.dtype, len(found)) == (whole.shape, whole.dtype, n)
    assert np.array_equal(np.asarray(found), whole)
    index = data.draw(indices(n))
    assert np.array_equal(found[index], whole[index])
    assert found[index].shape == whole[index].shape


def test_no_such_row(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(IndexError):
        NpyFile(tmp_path / "a.npy")[2]


def test_a_file_that_is_not_whole(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, np.zeros((4, 3)))
    there = NpyFile(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="greater than file size"):
        NpyFile(file)
    assert there[2].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"a\.npy: has become shorter"):
        there[3]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float32(1), "not an array of rows"),
        (np.asfortranarray(np.ones((2, 3))), "not an array of rows"),
        (np.array([{}, {}]), "objects"),
    ],
)
def test_an_array_without_rows(tmp_path, value, words):
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    with pytest.raises(ValueError, match=words):
        NpyFile(tmp_path / "a.npy")


def test_no_file_stays_open(tmp_path, open_files_limit):
    files = [tmp_path / f"{ordinal}.npy" for ordinal in range(100)]
    for ordinal, file in enumerate(files):
        np.save(file, np.full((2, 3), ordinal))
    with open_files_limit(20):
        held = [(found, found[:1]) for found in map(NpyFile, files)]
        assert [int(first.sum()) for _, first in held] == [3 * ordinal for ordinal in range(100)]
        assert [int(found[1].sum()) for found, _ in held] == [3 * ordinal for ordinal in range(100)]
