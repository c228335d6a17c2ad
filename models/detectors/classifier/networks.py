"""The networks of a classifier: frozen convolutions, a trained head, and where in the picture its decision comes from.

The heat of the head ``pooled`` is a class activation map (B. Zhou et al., Learning deep features for discriminative
localization, CVPR 2016). For several linear layers the map is weighted by the gradient at each of its places (R. L.
Draelos, L. Carin, HiResCAM, 2020). For a single linear layer on the averaged map both are the same. The gradient is
written out, because a served network has no automatic differentiation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones import efficientnet_lite0, vgg16
from models.backbones.efficientnet_lite0 import EfficientNetLite0
from models.backbones.efficientnet_stages import HEAD_CHANNELS
from models.detectors.classifier.card import Architecture, BackboneName
from models.detectors.network import ServedNetwork

#: Channels of the map that the head reads.
CHANNELS: dict[BackboneName, int] = {"efficientnet-lite0": HEAD_CHANNELS, "vgg16": vgg16.CHANNELS}
#: Added to the greatest value of a map before the map is divided by it.
_EPSILON = 1e-6
#: Classes of the published EfficientNet-Lite0. They are not used, but come with its last convolution.
_IMAGENET_CLASSES = 1000


class LiteMaps(nn.Module):
    """EfficientNet-Lite0 up to its last convolution."""

    def __init__(self, backbone: EfficientNetLite0) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → float32 (N, 1280, H / 32, W / 32), rounded up."""
        *_, last = self.backbone.maps(efficientnet_lite0.normalise_pictures(pictures)).values()
        return F.relu6(self.backbone.bn1(self.backbone.conv_head(last)))


class VGGMaps(nn.Module):
    """The convolutions of VGG-16."""

    def __init__(self, convolutions: nn.Sequential) -> None:
        super().__init__()
        self.convolutions = convolutions

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → float32 (N, 512, H / 32, W / 32), rounded down."""
        maps: Tensor = self.convolutions(vgg16.normalise_pictures(pictures))
        return maps


def load_maps(name: BackboneName) -> nn.Module:
    """Return the published convolutions, in evaluation mode, on the CPU.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    if name == "vgg16":
        return VGGMaps(vgg16.load_convolutions()).eval()
    return LiteMaps(efficientnet_lite0.load_efficientnet_lite0(classifier=True)).eval()


def blank_maps(name: BackboneName) -> nn.Module:
    """Return the convolutions of undefined weights."""
    if name == "vgg16":
        return VGGMaps(vgg16.blank_convolutions())
    return LiteMaps(EfficientNetLite0(classes=_IMAGENET_CLASSES))


class Head(nn.Module, ABC):
    """The trained part: from what is read of a map to the logits of the classes."""

    @abstractmethod
    def read(self, maps: Tensor) -> Tensor:
        """Return what the layers read of the maps: (N, C, h, w) → (N, ...)."""

    @abstractmethod
    def forward(self, read: Tensor) -> Tensor:
        """Return the logits of what :meth:`read` gave: → (N, classes)."""

    @abstractmethod
    def evidence(self, maps: Tensor, direction: Tensor) -> Tensor:
        """Return the share of each place in a sum of logits, by its gradient: (N, C, h, w) → (N, h', w').

        Args:
            direction: weights of the logits in the sum, (N, classes).
        """


class PooledHead(Head):
    """One linear layer on the map's average.

    In training it reads averages that are centred and scaled by those of the training pictures. :meth:`folded` is the
    same head without that step.
    """

    def __init__(self, channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)
        self.mean: Tensor
        self.scale: Tensor
        # From zero it shows only what it has learned.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def read(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))

    def forward(self, read: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout((read - self.mean) * self.scale))
        return logits

    def folded(self) -> PooledHead:
        """Return a head of the same logits that reads averages as they are."""
        head = PooledHead(self.linear.in_features, self.linear.out_features)
        with torch.no_grad():
            weight = self.linear.weight * self.scale
            head.linear.weight.copy_(weight)
            head.linear.bias.copy_(self.linear.bias - weight @ self.mean)
        return head.eval()

    def evidence(self, maps: Tensor, direction: Tensor) -> Tensor:
        weights = direction @ (self.linear.weight * self.scale)
        places = maps.shape[2] * maps.shape[3]
        return (weights[:, :, None, None] * maps).sum(1) / places


class LinearLayersHead(Head):
    """Linear layers with ReLU and dropout between them, on the map of 7 × 7 cells: VGG-16's.

    Args:
        layers: ``nn.Linear``, ``nn.ReLU`` and ``nn.Dropout`` alone.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def read(self, maps: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(maps, vgg16.GRID)

    def forward(self, read: Tensor) -> Tensor:
        logits: Tensor = self.layers(read.flatten(1))
        return logits

    def evidence(self, maps: Tensor, direction: Tensor) -> Tensor:
        cells = self.read(maps)
        x, signs = cells.flatten(1), list[Tensor | None]()
        for layer in self.layers:
            x = layer(x)
            signs.append((x > 0).to(x.dtype) if isinstance(layer, nn.ReLU) else None)
        gradient = direction
        for layer, sign in zip(reversed(self.layers), reversed(signs), strict=True):
            if isinstance(layer, nn.Linear):
                gradient = gradient @ layer.weight
            elif sign is not None:
                gradient = gradient * sign
        return (gradient.reshape(cells.shape) * cells).sum(1)


def blank_head(architecture: Architecture) -> Head:
    """Return the head of a card, of undefined weights."""
    if architecture.head == "linear_layers":
        return LinearLayersHead(vgg16.blank_linear_layers(len(architecture.classes)))
    return PooledHead(architecture.channels, len(architecture.classes))


class PictureClassifier(ServedNetwork):
    """The classifier as it is served: the score is the probability that the picture is not normal.

    HEAT shows the places that speak for the most probable anomaly and against the normal class, relative to the one
    that does most.

    Args:
        classes: number of classes; the first one is normal.
    """

    outputs = ("SCORE", "FEATURES", "HEAT")

    def __init__(self, maps: nn.Module, head: Head, classes: int) -> None:
        super().__init__()
        self.maps = maps
        self.head = head
        self._classes = classes

    def probabilities(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → float32 (N, classes)."""
        logits: Tensor = self.head(self.head.read(self.maps(pictures)))
        return logits.softmax(1)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, 1, H, W, 3) RGB → scores (N, 1), features (N, C), heat (N, h, w) in [0, 1]."""
        maps: Tensor = self.maps(clips[:, 0])
        logits: Tensor = self.head(self.head.read(maps))
        normal = logits.softmax(1)[:, :1]
        anomaly = F.one_hot(logits[:, 1:].argmax(1) + 1, self._classes).to(maps.dtype)
        against = torch.zeros_like(logits)
        against[:, 0] = 1.0
        evidence = F.relu(self.head.evidence(maps, anomaly - against))
        heat = evidence / (evidence.amax((1, 2), keepdim=True) + _EPSILON)
        return 1 - normal, maps.mean((2, 3)), heat
