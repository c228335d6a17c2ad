"""TensorFlow's padding, against its definition; sizes other than those of the golden arrays; tracing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.backbones.i3d import I3D, ClipEncoder, Unit3D, max_pool_same, same_padding


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [
        # By hand: ceil(224 / 2) = 112 outputs reach over 111 · 2 + 7 = 229 elements, 5 more than there are.
        (224, 7, 2, 2, 3),
        (225, 7, 2, 3, 3),  # 113 outputs reach over 231
        (112, 3, 2, 0, 1),  # 56 outputs reach over 113
        (113, 3, 2, 1, 1),  # 57 outputs reach over 115
        (14, 3, 1, 1, 1),
        (14, 1, 1, 0, 0),
        (4, 2, 2, 0, 0),
        (7, 2, 2, 0, 1),
    ],
)
def test_same_padding(size, kernel, stride, before, after):
    assert same_padding(size, kernel, stride) == (before, after)


def pad_explicitly(x, kernel, stride, value):
    pads = [same_padding(n, k, s) for n, k, s in zip(x.shape[-3:], kernel, stride, strict=True)]
    return functional.pad(x, [n for pair in reversed(pads) for n in pair], value=value)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 13, 25, 28])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
def test_pooling_equals_pooling_of_the_padded_map(size, kernel, stride):
    x = torch.randn(2, 3, 5, size, size + 1, generator=torch.Generator().manual_seed(size))
    expected = functional.max_pool3d(pad_explicitly(x, kernel, stride, -torch.inf), kernel, stride)
    assert torch.equal(max_pool_same(x, kernel, stride), expected)


@pytest.mark.parametrize("size", [13, 14])
def test_convolution_equals_convolution_of_the_padded_map(size):
    unit = Unit3D(3, 4, 7, stride=2).eval()
    x = torch.randn(1, 3, 5, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = functional.relu(
            unit.bn(functional.conv3d(pad_explicitly(x, (7,) * 3, (2,) * 3, 0.0), unit.conv.weight, stride=2))
        )
        torch.testing.assert_close(unit(x), expected)


def test_batch_norm_is_sonnets():
    unit = Unit3D(1, 1, 1)
    with torch.no_grad():
        unit.conv.weight.fill_(1.0)
        unit.bn.mean.fill_(0.5)
        unit.bn.var.fill_(0.249)  # + 0.001 = 0.25, whose root is 0.5
        unit.bn.bias.fill_(0.25)
        # (2 - 0.5) / 0.5 + 0.25, in training mode too
        assert unit.train()(torch.full((1, 1, 1, 1, 1), 2.0)).item() == pytest.approx(3.25)


@pytest.mark.parametrize(("frames", "height", "width"), [(16, 112, 112), (8, 100, 75), (17, 64, 90)])
def test_other_sizes_give_features(frames, height, width):
    torch.manual_seed(0)
    with torch.inference_mode():
        features = ClipEncoder(I3D().eval())(torch.zeros(1, frames, height, width, 3, dtype=torch.uint8))
    assert features.shape == (1, 1024)
    assert torch.isfinite(features).all()


def test_openvino_gives_the_same_features(i3d):
    from models.engines.openvino import ov
    from models.engines.openvino_convert import Input, to_openvino

    clips = np.random.default_rng(0).integers(0, 256, (1, 16, 112, 112, 3), dtype=np.uint8)
    encoder = ClipEncoder(i3d)
    model = to_openvino(encoder, {"CLIP": Input((16, 112, 112, 3))}, ("FEATURES",))
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(clips))
    np.testing.assert_allclose(compiled([clips])[0], expected, atol=1e-4, rtol=0)


def test_features_of_several_layers_are_those_of_each_in_order(i3d):
    clips = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 16, 64, 96, 3), dtype=np.uint8))
    with torch.inference_mode():
        fine, deep = (ClipEncoder(i3d, [layer])(clips) for layer in ("mixed_4f", "mixed_5c"))
        both = ClipEncoder(i3d, ["mixed_4f", "mixed_5c"])(clips)
        # The mean of the map, channel by channel, counted by hand.
        mapped = i3d.mixed_4f(clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1).flatten(2).sum(2)
    assert fine.shape == (2, 832)
    assert deep.shape == (2, 1024)
    assert torch.equal(both, torch.cat([fine, deep], dim=1))
    torch.testing.assert_close(fine, mapped / (4 * 4 * 6), atol=1e-5, rtol=1e-5)


class Hooked:
    """The outputs of I3D's blocks, as its own forward pass makes them, and the names of those that ran."""

    def __init__(self, network):
        self.maps = {}
        for name, block in network.named_children():
            block.register_forward_hook(lambda _block, _inputs, output, name=name: self.maps.update({name: output}))


@pytest.mark.parametrize("frames", [16, 24])
def test_each_layer_is_the_mean_of_its_blocks_output(frames):
    torch.manual_seed(2)
    network = I3D(classes=0).eval()
    clips = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (1, frames, 64, 96, 3), dtype=np.uint8))
    hooked = Hooked(network)
    with torch.inference_mode():
        network(clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
        maps = dict(hooked.maps)
        found = ClipEncoder(network, ["mixed_5b", "mixed_5c", "mixed_4f"])(clips).split([832, 1024, 832], dim=1)
        windows = maps["Mixed_5c"].mean((3, 4)).unfold(2, 2, 1).mean((2, 3))  # of two steps each, one apart
    torch.testing.assert_close(found[0], maps["Mixed_5b"].mean((2, 3, 4)))
    torch.testing.assert_close(found[1], windows)
    torch.testing.assert_close(found[2], maps["Mixed_4f"].mean((2, 3, 4)))


@pytest.mark.parametrize(
    ("layers", "last"), [(["mixed_4f"], "Mixed_4f"), (["mixed_4f", "mixed_5b"], "Mixed_5b"), (["mixed_5c"], "Mixed_5c")]
)
def test_blocks_behind_the_last_layer_are_not_computed(layers, last):
    network = I3D(classes=0).eval()
    hooked = Hooked(network)
    with torch.inference_mode():
        ClipEncoder(network, layers)(torch.zeros(1, 16, 32, 32, 3, dtype=torch.uint8))
    assert list(hooked.maps)[-1] == last
