"""I3D over a standing picture: equal to the ordinary network over the repeated picture."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from models.backbones.i3d import I3D, ClipEncoder, MapEncoder, Unit3D
from models.backbones.layers import WIDTHS
from models.backbones.still import (
    StillEncoder,
    StillI3D,
    Stretch,
    convolve,
    distinct,
    filter_pairs,
    still_mixed_4f,
    windows,
)
from models.engines.openvino import OpenVinoNetwork
from models.engines.openvino_convert import Input, to_openvino

#: Allowed difference, relative to the largest value: float32 sums in another order.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def untrained():
    """Random weights, of a scale that keeps the maps' scale from block to block."""
    torch.manual_seed(3)
    network = I3D(classes=0).eval()
    with torch.no_grad():
        for name, values in network.named_parameters():
            if name.endswith("weight"):
                torch.nn.init.kaiming_normal_(values)
            else:
                values.normal_(0, 0.2)
    return network


def pictures(count, height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def repeated(pictures, frames):
    return pictures[:, None].expand(-1, frames, -1, -1, -1)


def assert_equal_maps(network, frames, size, count=1):
    still = pictures(count, *size)
    with torch.inference_mode():
        expected = MapEncoder(network)(repeated(still, frames))
        found = StillI3D(network, frames)(still)
    for layer, one, other in zip(WIDTHS, found, expected, strict=True):
        assert one.shape == other.shape
        assert other.max() > 0
        torch.testing.assert_close(one, other, atol=TOLERANCE * float(other.max()), rtol=0, msg=layer)


@pytest.mark.parametrize(("frames", "size"), [(16, (128, 224)), (24, (64, 96)), (25, (64, 96))])
def test_maps_are_those_of_the_repeated_picture(untrained, frames, size):
    assert_equal_maps(untrained, frames, size)


@pytest.mark.parametrize("frames", [1, 7, 33])
def test_clips_of_any_length(untrained, frames):
    assert_equal_maps(untrained, frames, (32, 45), count=2)


@pytest.mark.parametrize(("frames", "size"), [(16, (224, 224)), (25, (64, 96))])
def test_with_the_published_weights(i3d, frames, size):
    assert_equal_maps(i3d, frames, size)


def test_features_are_those_of_the_clip_encoder(untrained):
    layers = ("mixed_5b", "mixed_4f", "mixed_5c")
    still = pictures(2, 64, 96)
    with torch.inference_mode():
        expected = ClipEncoder(untrained, layers)(repeated(still, 24))
        found = StillEncoder(untrained, layers, 24)(still)
    torch.testing.assert_close(found, expected, atol=TOLERANCE * float(expected.max()), rtol=0)


def test_weights_loaded_later_are_used(untrained):
    network = I3D(classes=0).eval()
    still = StillEncoder(network)
    network.load_state_dict(untrained.state_dict())
    with torch.inference_mode():
        assert torch.equal(still(pictures(1, 32, 32)), StillEncoder(untrained)(pictures(1, 32, 32)))


class Contrast(nn.Module):
    """Features of clips less those of a standing scene, as a served network has both."""

    def __init__(self, backbone):
        super().__init__()
        self.encoder = ClipEncoder(backbone, ("mixed_5b", "mixed_5c"))

    def forward(self, clips, scene):
        encoder = self.encoder
        still = encoder.backbone.pooled(still_mixed_4f(encoder.backbone, scene, clips.shape[1]), encoder.layers)
        return encoder(clips) - still, still


def test_openvino_gives_the_same_features_beside_a_clips(untrained):
    network = Contrast(untrained)
    safetensors.torch.save(network.state_dict())  # refuses weights that are there twice
    inputs = {"CLIP": Input((16, 64, 96, 3)), "SCENE": Input((64, 96, 3))}
    compiled = OpenVinoNetwork(to_openvino(network, inputs, ("CONTRAST", "STILL")))
    scene = pictures(2, 64, 96)
    clips = repeated(scene, 16).contiguous()
    clips[1, :, :32] = 0  # the second is not the scene
    with torch.inference_mode():
        expected, still = network(clips, scene)
    found = compiled.run({"CLIP": clips.numpy(), "SCENE": scene.numpy()})
    scale = float(still.max())
    np.testing.assert_allclose(found["STILL"], still, atol=TOLERANCE * scale, rtol=0)
    np.testing.assert_allclose(found["CONTRAST"], expected, atol=TOLERANCE * scale, rtol=0)
    np.testing.assert_allclose(found["CONTRAST"][0], 0, atol=TOLERANCE * scale)
    assert np.abs(found["CONTRAST"][1]).max() > 0.01 * scale


def test_windows_of_the_first_convolution():
    # Sixteen frames under taps -2 to +4 around every second one: the first window has two taps in the padding, the
    # last two have one and three.
    found, steps = distinct(windows((0,) * 16, 7, 2))
    assert [window.count(None) for window in found] == [2, 0, 1, 3]
    assert steps == (0, 1, 1, 1, 1, 1, 2, 3)


@pytest.fixture(scope="module")
def unit():
    torch.manual_seed(4)
    unit = Unit3D(3, 5, 3)
    with torch.no_grad():
        for values in (unit.bn.bias, unit.bn.mean):
            values.normal_()
        unit.bn.var.uniform_(0.5, 2)
    return unit.eval()


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_minimal_filtering_is_the_convolution(unit, steps):
    x = torch.randn(2, 3, steps, 6, 7, generator=torch.Generator().manual_seed(steps))
    with torch.inference_mode():
        torch.testing.assert_close(filter_pairs(unit, x), unit(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [(0,) * 5, (0, 1, 1, 1, 1, 1, 2, 3), (0, 1, 2, 0, 0), (0, 0, 0, 1)])
def test_a_stretch_is_convolved_as_its_clip_is(unit, steps):
    maps = torch.randn(max(steps) + 1, 2, 3, 1, 6, 7, generator=torch.Generator().manual_seed(5))
    stretch = Stretch(list(maps), steps)
    with torch.inference_mode():
        torch.testing.assert_close(convolve(unit, stretch).clip(), unit(stretch.clip()), atol=1e-5, rtol=0)


def test_no_frames():
    with pytest.raises(ValueError, match="frames must be at least 1, got 0"):
        StillI3D(I3D(classes=0), 0)(pictures(1, 32, 32))
