"""Networks for a GPU, on the CPU: compiled where torch can, and as they are where it cannot."""

from __future__ import annotations

from typing import Any, NoReturn

import contrast_family
import numpy as np
import pytest
import torch

from models.serving.torch_file import in_batches


@pytest.mark.parametrize("fails", [True, False])
def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    fails: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def backend(graph: torch.fx.GraphModule, _inputs: object, **_options: object) -> Any:
        asked.append(graph)
        return refuse() if fails else graph.forward

    def refuse() -> NoReturn:
        raise RuntimeError("no Triton for this card")

    compile_with = torch.compile  # its own backend is not part of an installation for CPUs
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_with(network, backend=backend, dynamic=False))
    torch._dynamo.reset()
    clips = np.random.default_rng(1).integers(0, 256, (3, 4, 16, 24, 3), dtype=np.uint8)
    one = {"CLIP": clips[:1], "CELLS": np.zeros((1, 2, 2), np.float32), "MEAN": np.zeros((1, 1), np.float32)}
    network = contrast_family.ContrastNetwork().eval()
    scorer = in_batches(network, "cpu", one, precision="fp32", most=2)
    assert len(asked) == (1 if fails else 2), "one graph for each batch size"
    found = scorer.run({name: clips if name == "CLIP" else np.repeat(array, 3, 0) for name, array in one.items()})
    # By hand: the brightest quarter, against a black scene.
    quarters = clips.mean(axis=(1, 4)).reshape(3, 2, 8, 2, 12).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(found["SCORE"][:, 0], quarters.max(axis=(1, 2)), atol=1e-6)
    lines = capsys.readouterr().err
    assert ("torch cannot compile the network here" in lines) == fails
