"""Writing weights when the disk is full."""

from __future__ import annotations

import resource

import pytest
import torch

from models.tensors import load_tensors, save_tensors


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
