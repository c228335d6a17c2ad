"""The network of hierarchical classifiers (P. Meletis, G. Dubbelman 2018), and the flat one that it is compared with.

pictures ─► backbone at 1/8 ─► 1 × 1 to 256 ─┬─► adaptation ─► softmax of the root ─► upsampling
                                             ├─► adaptation ─► softmax of an inner node ─► upsampling
                                             └─► …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.places.backbones import PlacesBackbone

#: Channels that all classifiers share, as in the paper.
CHANNELS = 256


class Branch(nn.Module):
    """A classifier with its own adaptation of the shared features.

    The adaptation is a bottleneck of ResNet, channels → channels / 4 → channels. A convolution of 1 × 1 gives the
    logits. Their upsampling is hybrid: a learned fractional-stride convolution of 2 × 2, then bilinear. It begins as a
    plain repetition of each cell.

    Args:
        classes: number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        from torchvision.models.resnet import Bottleneck

        super().__init__()
        self.adaptation = Bottleneck(channels, channels // Bottleneck.expansion)
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.upsampling = nn.ConvTranspose2d(classes, classes, 2, stride=2)
        with torch.no_grad():
            self.upsampling.weight.copy_(torch.eye(classes)[:, :, None, None].expand(-1, -1, 2, 2))
            self.upsampling.bias.zero_()  # type: ignore[union-attr]  # it has one

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """(N, channels, h, w) → logits (N, classes, height, width)."""
        finer = self.upsampling(self.classifier(self.adaptation(features)))
        return F.interpolate(finer, size=(height, width), mode="bilinear", align_corners=False)


class SharedFeatures(nn.Module):
    """The backbone and the 1 × 1 convolution behind it."""

    def __init__(self, backbone: PlacesBackbone, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.reduction = nn.Sequential(
            nn.Conv2d(backbone.channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) → (N, channels, H / 8, W / 8), rounded up."""
        features: Tensor = self.reduction(self.backbone(pictures))
        return features


class HierarchicalNetwork(nn.Module):
    """Shared features, and a branch for each classifier of a label tree.

    Args:
        classifiers: classes of each classifier, in the tree's order.
        channels: of the shared features; a multiple of 4.
    """

    def __init__(
        self, classifiers: Mapping[str, Sequence[str]], backbone: PlacesBackbone, channels: int = CHANNELS
    ) -> None:
        super().__init__()
        self.shared = SharedFeatures(backbone, channels)
        self.classifiers = tuple(classifiers)
        # A list, because a classifier's name may hold dots.
        self.branches = nn.ModuleList(Branch(channels, len(classes)) for classes in classifiers.values())

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the logits of each classifier, in the tree's order.

        Args:
            pictures: uint8 (N, H, W, 3) RGB.

        Returns:
            float32 (N, classes, H, W) by classifier.
        """
        features = self.shared(pictures)
        # int(): under tracing a size is a tensor. It is frozen then.
        height, width = (int(size) for size in pictures.shape[1:3])
        return {
            name: branch(features, height, width) for name, branch in zip(self.classifiers, self.branches, strict=True)
        }


class FlatNetwork(nn.Module):
    """The same shared features, and one branch for all classes.

    Args:
        classes: number of classes.
        channels: of the shared features; a multiple of 4.
    """

    def __init__(self, classes: int, backbone: PlacesBackbone, channels: int = CHANNELS) -> None:
        super().__init__()
        self.shared = SharedFeatures(backbone, channels)
        self.branch = Branch(channels, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → logits, float32 (N, classes, H, W)."""
        height, width = (int(size) for size in pictures.shape[1:3])
        logits: Tensor = self.branch(self.shared(pictures), height, width)
        return logits
