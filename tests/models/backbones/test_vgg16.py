"""VGG-16: the published convolutions against OpenCV's, and files of weights that a user names."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from sklearn.datasets import load_sample_image

from models.backbones import vgg16, weights
from models.backbones.checkpoints import VGG16_CONVOLUTIONS, read_vgg16


@pytest.fixture(scope="module")
def convolutions(vgg16_weights: None) -> torch.nn.Sequential:
    return vgg16.load_convolutions()


def correlated(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(plane.astype(np.float64), -1, kernel.astype(np.float64), borderType=cv2.BORDER_CONSTANT)


def test_the_first_layers_are_correlations_of_opencv(convolutions: torch.nn.Sequential) -> None:
    """The layout of the converted kernels, by another library: two convolutions with ReLU and a pool."""
    picture = np.ascontiguousarray(load_sample_image("china.jpg")[100:124, 200:232])
    x = [(picture[..., c] / 255 - m) / s for c, (m, s) in enumerate(zip(vgg16._MEAN, vgg16._SPREAD, strict=True))]
    published = weights.load(vgg16.NAME)
    for place in (0, 2):
        kernels, biases = published[f"features.{place}.weight"], published[f"features.{place}.bias"]
        x = [
            np.maximum(
                sum(
                    cv2.filter2D(
                        np.asarray(plane, np.float64), -1, kernel.astype(np.float64), borderType=cv2.BORDER_CONSTANT
                    )
                    for plane, kernel in zip(x, of_output, strict=True)
                )
                + bias,
                0,
            )
            for of_output, bias in zip(kernels, biases, strict=True)
        ]
    wanted = np.stack(x).reshape(64, 12, 2, 16, 2).max(axis=(2, 4))
    with torch.inference_mode():
        found = convolutions[:5](vgg16.normalise_pictures(torch.from_numpy(picture)[None]))[0].numpy()
    assert wanted.std() > 0.1
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_convolutions_are_those_of_torchvision(convolutions: torch.nn.Sequential) -> None:
    places = [place for place, layer in enumerate(convolutions) if isinstance(layer, torch.nn.Conv2d)]
    assert tuple(places) == VGG16_CONVOLUTIONS
    assert sum(parameter.numel() for parameter in convolutions.parameters()) == 14_714_688  # of the paper's 138 million
    with torch.inference_mode():
        assert convolutions(torch.zeros(1, 3, 70, 96)).shape == (1, vgg16.CHANNELS, 2, 3)


@pytest.fixture(scope="module")
def whole() -> dict[str, torch.Tensor]:
    """Return tensors of the shapes of the whole network, which take no memory: each is one value, expanded."""
    with torch.device("meta"):
        shapes = torchvision.models.vgg16().state_dict()
    return {name: torch.full((1,), 0.5).expand(tensor.shape) for name, tensor in shapes.items()}


def test_a_file_of_torch(whole: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """The last layer is new, and all others are the file's."""
    torch.save(whole, tmp_path / "vgg16.pth")
    torch.manual_seed(1)
    convolutions, linear = vgg16.from_file(vgg16.read_file(tmp_path / "vgg16.pth"), classes=2)
    assert all((value == 0.5).all() for value in convolutions.state_dict().values())
    old = {name: bool((value == 0.5).all()) for name, value in linear.state_dict().items()}
    assert old == {
        **dict.fromkeys(("0.weight", "0.bias", "3.weight", "3.bias"), True),
        **dict.fromkeys(("6.weight", "6.bias"), False),
    }
    assert linear[6].weight.shape == (2, 4096)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return io.open, ("/dev/null",)


def test_files_that_are_not_vgg16(whole: dict[str, torch.Tensor], tmp_path: Path) -> None:
    small = {name: tensor.clone() for name, tensor in whole.items() if tensor.numel() < 10_000}
    for name, content, wanted in (
        ("missing.pth", None, "no such file"),
        (
            "resnet.safetensors",
            safetensors.torch.save({"conv1.weight": torch.zeros(2)}),
            "features.0.weight is missing",
        ),
        ("cut.safetensors", safetensors.torch.save(small)[:50], "not a file of weights"),
        ("text.pth", b"no weights", "not a file of weights"),
        ("trap.pth", pickle.dumps({"features.0.weight": Trap()}), "a pickle of more than tensors"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(vgg16.VGG16FileError, match=wanted) as refused:
            vgg16.read_file(tmp_path / name)
        assert str(tmp_path / name) in str(refused.value)
        assert "\n" not in str(refused.value)
    torch.save(whole | {"classifier.6.weight": torch.zeros(10, 4096)}, tmp_path / "ten.pth")
    torch.save(whole | {"classifier.6.bias": torch.full((1000,), torch.nan)}, tmp_path / "features.pth")
    with pytest.raises(vgg16.VGG16FileError, match=r"classifier.6.bias has values that are not finite"):
        vgg16.read_file(tmp_path / "features.pth")
    with pytest.raises(vgg16.VGG16FileError, match=r"classifier.6.weight is \[10, 4096\] instead of \[1000, 4096\]"):
        vgg16.read_file(tmp_path / "ten.pth")


@pytest.mark.parametrize(
    ("tree", "complaint"),
    [
        ({"VGG16_0": {"Conv_0": {}}}, "expected the 13 convolutions"),
        ([1], "expected the 13 convolutions"),
        ({"VGG16_0": {f"Conv_{i}": {"kernel": np.zeros(2)} for i in range(13)}}, "not a kernel or a bias of float32"),
        ({"VGG16_0": {f"Conv_{i}": {"scale": np.zeros(2, np.float32)} for i in range(13)}}, "Conv_0::scale"),
    ],
)
def test_other_checkpoints_are_refused(tree: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_vgg16(pickle.dumps(tree))
