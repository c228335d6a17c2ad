"""The bench of a GPU: its counts by hand, and a machine without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch


@pytest.fixture(scope="module")
def gpu(load):
    return load("gpu")


def test_the_first_convolution_alone_has_the_operations_of_its_size(gpu):
    # 7³ taps, 3 → 64 channels, 8 × 16 × 16 places, two operations a tap; the whole network has more.
    first = 2 * 7**3 * 3 * 64 * 8 * 16 * 16
    assert first < gpu.floating_point_operations((16, 32, 32, 3)) < 20 * first
    # Published for I3D at 64 × 224²: 108 G multiply-adds; a quarter of the frames has about a quarter of them.
    assert gpu.floating_point_operations() == pytest.approx(2 * 108e9 / 4, rel=0.1)


def test_the_table_has_the_share_of_the_peak(gpu):
    found = {"peak_tflops": 100.0, "as_it_is": {1: 100.0, 2: 180.0}, "compiled": {1: 200.0}}
    text = gpu.table({"gpu": "card", "torch": "2", "clip_tflop": 0.05, "precisions": {"bf16": found}})
    assert "| bf16 | 1 | 100.0 | 200.0 | 10.0% |" in text
    assert "| bf16 | 2 | 180.0 | — | 9.0% |" in text


def test_a_shape_too_many_is_an_error_and_not_a_slow_run(gpu):
    config = torch._dynamo.config
    # monkeypatch would delete the settings afterwards, and torch compile nothing more in this process.
    kept = {name: getattr(config, name) for name in ("recompile_limit", "fail_on_recompile_limit_hit")}
    with config.patch(kept):
        gpu.compile_each_batch()
        torch._dynamo.reset()
        compiled = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
        for size in gpu.CANDIDATES:
            compiled(torch.zeros(size))
        with pytest.raises(Exception, match="recompile_limit"):
            compiled(torch.zeros(max(gpu.CANDIDATES) + 1))
    assert {name: getattr(config, name) for name in kept} == kept


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch can use")
def test_without_a_gpu_it_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    assert "torch finds no GPU here" in capsys.readouterr().err
