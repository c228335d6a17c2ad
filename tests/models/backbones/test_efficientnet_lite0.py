"""EfficientNet-Lite0: its layers against numpy, its sizes, and photographs that it must recognise.

Its logits equal those of the published implementation (efficientnet-lite-pytorch 0.1.0) bit for bit on both
photographs; by hand, once.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from models.backbones.efficientnet_lite0 import (
    EfficientNetLite0,
    PictureMaps,
    SameConv2d,
    load_efficientnet_lite0,
    normalise_pictures,
)
from models.backbones.efficientnet_stages import STAGES, reduction
from models.engines.openvino import OpenVinoNetwork
from models.engines.openvino_convert import Input, to_openvino


def photograph(name: str) -> np.ndarray:
    """The middle square of a photograph that comes with scikit-learn: uint8 (1, 224, 224, 3) RGB."""
    picture = load_sample_image(name)
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(picture[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)[None]


@pytest.mark.parametrize(("name", "wanted"), [("china.jpg", 698), ("flower.jpg", 985)], ids=["palace", "daisy"])
def test_photographs_are_recognised(efficientnet: EfficientNetLite0, name: str, wanted: int) -> None:
    """The Summer Palace in Beijing, and a dahlia, which ImageNet's classes lack: a daisy is nearest."""
    with torch.inference_mode():
        logits = efficientnet(normalise_pictures(torch.from_numpy(photograph(name))))
    assert logits.shape == (1, 1000)
    assert int(logits.argmax()) == wanted


def test_every_stage_has_its_size() -> None:
    with torch.inference_mode():
        found = EfficientNetLite0().eval().maps(torch.zeros(1, 3, 224, 224))
    sizes = {name: (found[name].shape[1], found[name].shape[2]) for name in STAGES}
    assert list(sizes.values()) == [(16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (192, 7), (320, 7)]
    assert {name: 224 // reduction(name) for name in STAGES} == {name: side for name, (_, side) in sizes.items()}


def test_the_weights_are_those_of_the_network(efficientnet: EfficientNetLite0) -> None:
    """4.65 million parameters, as published, without the running statistics of BatchNorm."""
    assert sum(parameter.numel() for parameter in efficientnet.parameters()) == 4_652_008


def test_the_stem_is_a_convolution_whose_odd_pixel_is_behind(efficientnet: EfficientNetLite0) -> None:
    """By numpy: at an even size, the window of output (i, j) begins at pixel (2 i, 2 j), and is cut off at the end."""
    picture = photograph("china.jpg")[:, :30, :40]
    x = (picture[0].astype(np.float64) - 127) / 128
    weight = efficientnet.conv_stem.weight.detach().numpy().astype(np.float64)  # (32, 3, 3, 3)
    norm = {name: value.numpy().astype(np.float64) for name, value in efficientnet.bn0.state_dict().items()}
    scale = norm["weight"] / np.sqrt(norm["running_var"] + 1e-3)
    with torch.inference_mode():
        given = efficientnet.conv_stem(normalise_pictures(torch.from_numpy(picture)))
        found = torch.nn.functional.relu6(efficientnet.bn0(given))[0].numpy()
    assert found.shape == (32, 15, 20)
    for row, column in ((0, 0), (7, 11), (14, 19)):
        window = x[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        part = weight[:, :, : window.shape[0], : window.shape[1]]
        sums = np.einsum("ijc,ocij->o", window, part)
        expected = np.clip((sums - norm["running_mean"]) * scale + norm["bias"], 0, 6)
        np.testing.assert_allclose(found[:, row, column], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "first"),
    [(8, 3, 2, 0), (9, 3, 2, -1), (8, 5, 2, -1), (9, 5, 2, -2), (8, 5, 1, -2)],
)
def test_a_depthwise_convolution_is_opencvs(size: int, kernel: int, stride: int, first: int) -> None:
    """TensorFlow's SAME: the padding is shared out, the odd element behind; ``first`` is where windows begin."""
    rng = np.random.default_rng(3)
    x = rng.random((size, size), np.float32)
    layer = SameConv2d(1, 1, kernel, stride)
    with torch.inference_mode():
        found = layer(torch.from_numpy(x)[None, None])[0, 0].numpy()
    taps = layer.weight.detach().numpy()[0, 0]
    # OpenCV's correlation at every pixel, with zeros outside, its windows beginning at the pixel itself.
    wide = cv2.copyMakeBorder(x, *(4 * [kernel]), cv2.BORDER_CONSTANT, value=0)
    at_each = cv2.filter2D(wide, -1, taps, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    begin = kernel + first
    expected = at_each[begin : begin + size : stride, begin : begin + size : stride]
    np.testing.assert_allclose(found, expected[: found.shape[0], : found.shape[1]], atol=1e-5)
    assert found.shape == (-(-size // stride), -(-size // stride))


def test_a_block_that_keeps_its_shape_adds_its_input() -> None:
    """With a last BatchNorm of scale 0 and bias 1, a residual block adds 1."""
    network = EfficientNetLite0("stage_2").eval()
    first, second = network.blocks[1], network.blocks[2]
    for block in (first, second):
        torch.nn.init.zeros_(block.bn2.weight)
        torch.nn.init.ones_(block.bn2.bias)
    x = torch.randn(1, 24, 6, 6)
    with torch.inference_mode():
        np.testing.assert_allclose(second(x), x + 1)
        np.testing.assert_allclose(first(torch.randn(1, 16, 6, 6)), np.ones((1, 24, 3, 3)))


def test_maps_on_openvino_are_those_of_torch(efficientnet: EfficientNetLite0) -> None:
    """Also at a size that is not a multiple of the strides, with the padding frozen for it."""
    pictures = cv2.resize(photograph("china.jpg")[0], (100, 72))[None]
    network = PictureMaps(load_efficientnet_lite0("stage_5"), ("stage_3", "stage_5")).eval()
    with torch.inference_mode():
        whole = efficientnet.maps(normalise_pictures(torch.from_numpy(pictures)))
    compiled = OpenVinoNetwork(to_openvino(network, {"PICTURE": Input((72, 100, 3))}, ("FINE", "COARSE")))
    found = compiled.run(pictures)
    assert (found["FINE"].shape, found["COARSE"].shape) == ((1, 40, 9, 13), (1, 112, 5, 7))
    np.testing.assert_allclose(found["FINE"], whole["stage_3"], atol=1e-3)
    np.testing.assert_allclose(found["COARSE"], whole["stage_5"], atol=1e-3)


def test_a_network_without_classes_says_so() -> None:
    with pytest.raises(ValueError, match="no classifier"):
        EfficientNetLite0("stage_1")(torch.zeros(1, 3, 32, 32))
