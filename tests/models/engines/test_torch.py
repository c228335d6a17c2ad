"""Networks with torch: their outputs, and engines that cannot run here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.data import backbone_engines
from models.data.backbone_engines import open_feature_engine, open_map_engine
from models.engines.torch import EngineError, TorchNetwork, filled_up, moved_to, with_room
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=16, stride=16, height=32, width=32)


@pytest.fixture
def no_weights(monkeypatch):
    """The engines' networks, not trained: what is asked here comes before any clip."""
    from models.backbones.i3d import I3D

    monkeypatch.setattr(backbone_engines, "load_i3d", lambda *_, **__: I3D(classes=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch can use")
@pytest.mark.parametrize(
    "opened",
    [
        lambda: open_feature_engine("cuda", CLIP, "i3d-kinetics400", ["mixed_5c"]),
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


def test_filled_up_with_black():
    clips = np.full((2, 1, 1, 1, 3), 9, np.uint8)
    assert filled_up(clips, 3).sum((1, 2, 3, 4)).tolist() == [27, 27, 0]
    assert len(filled_up(clips, 2)) == 2


class MeanAndSize(nn.Module):
    """The mean of each clip, and how many clips the network saw at once."""

    def forward(self, clips):
        return clips.float().mean(dim=(1, 2, 3, 4))[:, None], torch.full((len(clips), 1), float(len(clips)))


@pytest.mark.parametrize(("batch", "seen"), [(None, 2.0), (4, 4.0)])
def test_outputs_by_name_of_the_clips_alone(batch, seen):
    clips = np.stack([np.full((1, 2, 2, 3), value, np.uint8) for value in (10, 20)])
    found = TorchNetwork(MeanAndSize(), ("MEAN", "SIZE"), "cpu", batch=batch).run(clips)
    assert {name: array.ravel().tolist() for name, array in found.items()} == {
        "MEAN": [10.0, 20.0],
        "SIZE": [seen, seen],
    }


class MeanOfScene(nn.Module):
    """The mean of each scene, times the clip's weight."""

    def forward(self, scenes, weights):
        return scenes.float().mean(dim=(1, 2, 3))[:, None] * weights


def test_several_inputs_go_by_their_names():
    network = TorchNetwork(MeanOfScene(), ("MEAN",), "cpu", inputs=("SCENE", "WEIGHT"), batch=4)
    scenes, weights = np.full((2, 2, 2, 3), 8, np.uint8), np.array([[0.5], [2]], np.float32)
    assert network.run({"WEIGHT": weights, "SCENE": scenes})["MEAN"].ravel().tolist() == [4, 16]
    with pytest.raises(ValueError, match=r"^inputs must be SCENE, WEIGHT, got SCENE$"):
        network.run(scenes)


@pytest.fixture(scope="module")
def encoder():
    from models.backbones.i3d import I3D, ClipEncoder

    torch.manual_seed(3)
    return ClipEncoder(I3D(classes=0)).eval()


class TestPrecision:
    """The path for GPUs, on the CPU: bfloat16 products and channels last in memory."""

    CLIPS = np.random.default_rng(8).integers(0, 256, (2, 16, 32, 32, 3), dtype=np.uint8)

    def test_bfloat16_is_close_to_float32_and_other_than_it(self, encoder):
        exact = TorchNetwork(encoder, ("FEATURES",), "cpu").run(self.CLIPS)["FEATURES"]
        network = TorchNetwork(encoder, ("FEATURES",), "cpu", precision="bf16")
        assert network.name == "torch on cpu in bf16"
        found = network.run(self.CLIPS)["FEATURES"]
        assert found.dtype == np.float32
        # bfloat16 has 8 bits; errors of 57 layers add up like a random walk.
        assert 0 < np.abs(found - exact).max() < 0.03 * np.abs(exact).max()

    def test_convolutions_get_channels_last(self, encoder):
        network = TorchNetwork(encoder, ("FEATURES",), "cpu", precision="bf16")
        seen = []
        hook = encoder.backbone.Conv3d_2c_3x3.conv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        weight = encoder.backbone.Mixed_3b.Branch_1["Conv3d_0b_3x3"].conv.weight
        try:
            network.run(self.CLIPS)
        finally:
            hook.remove()
        assert weight.is_contiguous(memory_format=torch.channels_last_3d)
        assert all(x.is_contiguous(memory_format=torch.channels_last_3d) for x in seen)

    def test_a_compiled_network_is_apart_from_the_network(self, monkeypatch):
        graphs = []

        def count(graph, _inputs, **_options):
            graphs.append(graph)
            return graph.forward

        compile_with = torch.compile  # the compiler of torch for CPUs is not part of an installation
        monkeypatch.setattr(torch, "compile", lambda network, **_: compile_with(network, backend=count, dynamic=False))
        network = MeanAndSize()
        compiled, plain = (TorchNetwork(network, ("MEAN", "SIZE"), "cpu", compiled=which) for which in (True, False))
        expected = plain.run(self.CLIPS)
        assert graphs == []
        np.testing.assert_array_equal(compiled.run(self.CLIPS)["MEAN"], expected["MEAN"])
        assert len(graphs) == 1

    def test_an_unknown_precision(self, encoder):
        with pytest.raises(ValueError, match=r"must be one of fp32, bf16, fp16, got 'int4'"):
            TorchNetwork(encoder, ("FEATURES",), "cpu", precision="int4")
