"""VGG-16 (K. Simonyan, A. Zisserman, ICLR 2015) by torchvision: its convolutions, and its linear layers.

A package has the convolutions alone, under the name :data:`NAME`. Weights of the whole network are read from a file
that the user names, such as torchvision's own ``vgg16-397923af.pth``.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from models.backbones import weights
from pipeline.errors import UsageError

NAME = "vgg16-convolutions"  #: of the published weights
CHANNELS = 512  #: of its last map
REDUCTION = 32  #: pixels of the picture's side that become one of the last map
GRID = 7  #: side of the map that the linear layers read
WIDTH = 4096  #: of the last linear layer's input

#: Mean and spread of ImageNet's pictures in 0 to 1, for red, green and blue: torchvision's.
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16FileError(UsageError):
    """A file of weights cannot be used."""


def normalise_pictures(pictures: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) RGB → float32 (N, 3, H, W), as the network was trained."""
    mean, spread = (pictures.new_tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (_MEAN, _SPREAD))
    return (pictures.permute(0, 3, 1, 2).to(torch.float32) / 255 - mean) / spread


def blank_convolutions() -> nn.Sequential:
    """Return the layers ``features``, untrained: (N, 3, H, W) → (N, 512, H / 32, W / 32), rounded down."""
    import torchvision

    # On no device: the linear layers would be 500 MB.
    with torch.device("meta"):
        features = torchvision.models.vgg16().features
    assert isinstance(features, nn.Sequential)
    return features.to_empty(device="cpu")


def blank_linear_layers(classes: int) -> nn.Sequential:
    """Return the layers ``classifier``, of undefined weights, with ``classes`` outputs: (N, 25088) → (N, classes)."""
    import torchvision

    with torch.device("meta"):
        classifier = torchvision.models.vgg16(num_classes=classes).classifier
    assert isinstance(classifier, nn.Sequential)
    return classifier.to_empty(device="cpu")


def load_convolutions() -> nn.Sequential:
    """Return the convolutions with fetched weights, in evaluation mode, on the CPU.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    tensors = {name: torch.from_numpy(array) for name, array in weights.load(NAME).items()}
    return _filled(blank_convolutions(), "features", tensors).eval()


def read_file(file: Path) -> dict[str, Tensor]:
    """Return the tensors of the whole network, by torchvision's names, from a file of torch or of safetensors.

    Raises:
        VGG16FileError: the file is missing or damaged, or holds the weights of another network.
    """
    import torchvision

    try:
        if file.suffix == ".safetensors":
            import safetensors.torch

            found = safetensors.torch.load(file.read_bytes())
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise VGG16FileError(f"{file}: no such file; expected torchvision's weights of VGG-16") from None
    except Exception as error:  # torch, zipfile, pickle and safetensors raise their own kinds
        reason = "a pickle of more than tensors" if isinstance(error, UnpicklingError) else type(error).__name__
        raise VGG16FileError(
            f"{file}: not a file of weights ({reason}); expected torchvision's weights of VGG-16"
        ) from None
    with torch.device("meta"):
        expected = torchvision.models.vgg16().state_dict()
    problems: list[str] = [] if isinstance(found, dict) else ["it holds no tensors by names"]
    if not problems:
        problems = [f"{name} is missing" for name in expected if not isinstance(found.get(name), Tensor)]
        problems += [f"{name} is unknown" for name in found if name not in expected]
    if not problems:
        problems = [
            f"{name} is {list(found[name].shape)} instead of {list(tensor.shape)}"
            for name, tensor in expected.items()
            if found[name].shape != tensor.shape
        ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise VGG16FileError(
            f"{file}: the weights of another network ({problems[0]}{more}); expected torchvision's weights of VGG-16"
        )
    if bad := next((name for name, tensor in found.items() if not tensor.isfinite().all()), None):
        raise VGG16FileError(
            f"{file}: {bad} has values that are not finite, as in a file of the convolutions alone, which were trained "
            "on other pictures; expected torchvision's weights of the whole VGG-16"
        )
    return {name: tensor.to(torch.float32) for name, tensor in found.items()}


def from_file(tensors: dict[str, Tensor], classes: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return convolutions and linear layers with the tensors of :func:`read_file`; the last layer is untrained.

    Args:
        classes: number of outputs of the last layer.
    """
    convolutions = _filled(blank_convolutions(), "features", tensors).eval()
    linear = blank_linear_layers(classes)
    last = len(linear) - 1
    own = {name: value for name, value in _below(tensors, "classifier").items() if not name.startswith(f"{last}.")}
    linear.load_state_dict(own, strict=False)
    linear[last] = nn.Linear(WIDTH, classes)
    return convolutions, linear


def _filled(layers: nn.Sequential, name: str, tensors: dict[str, Tensor]) -> nn.Sequential:
    layers.load_state_dict(_below(tensors, name))
    return layers


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
