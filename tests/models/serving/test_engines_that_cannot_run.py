"""An engine that cannot run here says so in one line, whoever opened it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.data.features import EngineError, moved_to, open_encoder, with_room
from models.engines import map_engine
from models.engines.map_engine import open_map_engine
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=16, height=32, width=32)


@pytest.fixture
def no_weights(monkeypatch):
    """The engines' networks, not trained: what is asked here comes before any clip."""
    from models.backbones.i3d import I3D

    monkeypatch.setattr("models.backbones.i3d.load_i3d", lambda *_, **__: I3D(classes=0))
    monkeypatch.setattr(map_engine, "load_i3d", lambda *_, **__: I3D(classes=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch can use")
@pytest.mark.parametrize(
    "opened",
    [
        lambda: open_encoder("cuda", CLIP, "i3d-kinetics400", ["mixed_5c"]),
        lambda: open_map_engine("cuda", CLIP, "i3d-kinetics400"),
    ],
)
def test_cuda_without_a_gpu(no_weights, opened):
    with pytest.raises(EngineError, match=r"^engine cuda: torch can use no GPU here \(.+\); take .*--engine openvino"):
        opened()


class Full(nn.Module):
    """On a GPU without memory left; moved there, or asked something there."""

    def _apply(self, *_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")


def test_a_gpu_without_room():
    with pytest.raises(
        EngineError, match=r"^engine cuda: no memory left on the GPU: .*nvidia-smi.*--engine open"
    ) as it:
        moved_to("cuda", Full())
    assert "\n" not in str(it.value)
    with pytest.raises(EngineError, match="no memory left on the GPU"), with_room():
        Full().half()


def test_what_is_no_lack_of_room_is_not_taken_for_it():
    with pytest.raises(RuntimeError, match="a bug"), with_room():
        raise RuntimeError("a bug")
