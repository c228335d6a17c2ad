"""Writing weights when the disk is full, and weights of a program without torch."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import torch

from models.tensors import TensorsError, load_arrays, load_tensors, save_arrays, save_tensors


def test_a_full_disk_leaves_the_old_weights(tmp_path):
    file = tmp_path / "weights.safetensors"
    old = {"x": torch.arange(10.0)}
    sha256 = save_tensors(old, file)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_tensors({"x": torch.zeros(1 << 20)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    assert torch.equal(load_tensors(file, old, network="test", sha256=sha256)["x"], old["x"])


def test_arrays_are_written_as_the_tensors_of_the_same_values(tmp_path):
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "a": np.array(0.5, np.float64),
        "c": np.arange(3, dtype=np.float64),
    }
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    sha256 = save_arrays(arrays, tmp_path / "arrays")
    assert save_tensors(tensors, tmp_path / "tensors") == sha256
    assert (tmp_path / "arrays").read_bytes() == (tmp_path / "tensors").read_bytes()
    loaded = load_arrays(tmp_path / "tensors", arrays, network="test", sha256=sha256)
    assert {name: array.tolist() for name, array in loaded.items()} == {
        "a": 0.5,
        "b": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
        "c": [0.0, 1.0, 2.0],
    }


def test_arrays_of_another_model_are_refused(tmp_path):
    arrays = {"a": np.array([1.0, np.nan]), "b": np.zeros(2, np.float32), "c": np.zeros(1)}
    sha256 = save_arrays(arrays, tmp_path / "arrays")
    expected = {"a": np.zeros(2), "b": np.zeros(3, np.float32), "d": np.zeros(1)}
    with pytest.raises(
        TensorsError,
        match=r"arrays: not the weights of this test: d is missing, c is unknown, a holds values that are not finite, "
        r"b is float32 \[2\] instead of float32 \[3\]$",
    ):
        load_arrays(tmp_path / "arrays", expected, network="test", sha256=sha256)


def test_arrays_of_a_type_that_numpy_lacks_are_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    save_tensors({"a": torch.zeros(2, dtype=torch.bfloat16)}, file)
    with pytest.raises(TensorsError, match=r"model\.safetensors: not a safetensors file \('BF16'\)"):
        load_arrays(file, {"a": np.zeros(2, np.float32)}, network="program", sha256="")
