"""Networks of SimCLR and SCAN: encoders of pictures, and the heads on them."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from models.alike.recipe import AlikeRecipe, Encoder


class ProjectionHead(nn.Module):
    """SimCLR's projection head: linear – ReLU – linear, then length 1.

    Args:
        inputs: values that it reads.
        hidden: of the layer between.
        values: of the embedding.
    """

    def __init__(self, inputs: int, hidden: int, values: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, values))

    def forward(self, features: Tensor) -> Tensor:
        """Return embeddings of length 1, (N, inputs) → (N, values)."""
        return F.normalize(self.layers(features), dim=1)


class SmallEncoder(nn.Module):
    """Three convolutions of 3 × 3 with BatchNorm and ReLU, a pool after the second, and averages of the four quarters.

    An average over the whole of a tiny picture would forget where its strokes are.

    Args:
        inputs: channels of the pictures.
        channels: of the three convolutions; the features are four times the last ones.
    """

    def __init__(self, inputs: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *channels)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:6], nn.MaxPool2d(2), *layers[6:], nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) → (N, features)."""
        features: Tensor = self.layers(pictures)
        return features


def new_encoder(recipe: Encoder, inputs: int) -> tuple[nn.Module, int]:
    """Return an untrained encoder, (N, inputs, H, W) → (N, features), and the number of its features."""
    if recipe.kind == "small":
        return SmallEncoder(inputs, recipe.channels), 4 * recipe.channels[-1]
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    features = int(network.fc.in_features)
    network.fc = nn.Identity()
    if recipe.stem == "imagenet":
        network.conv1 = nn.Conv2d(inputs, 64, 7, stride=2, padding=3, bias=False)
    else:
        network.conv1 = nn.Conv2d(inputs, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity() if recipe.stem == "cifar" else nn.MaxPool2d(2, padding=1)
    return network, features


class EmbeddingNetwork(nn.Module):
    """An encoder and a projection head.

    Args:
        inputs: channels of the pictures.
    """

    def __init__(self, recipe: AlikeRecipe, inputs: int) -> None:
        super().__init__()
        self.encoder, features = new_encoder(recipe.encoder, inputs)
        self.head = ProjectionHead(features, recipe.contrast.hidden or features, recipe.contrast.values)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return embeddings of length 1, (N, C, H, W) of values in 0 to 1 → (N, values)."""
        embeddings: Tensor = self.head(self.encoder(centred(pictures)))
        return embeddings


class ClusteringNetwork(nn.Module):
    """An encoder and one linear layer for each head.

    Args:
        inputs: channels of the pictures.
    """

    def __init__(self, recipe: AlikeRecipe, inputs: int, clusters: int, heads: int) -> None:
        super().__init__()
        self.encoder, features = new_encoder(recipe.encoder, inputs)
        self.clusters = clusters
        self.heads = nn.ModuleList(nn.Linear(features, clusters) for _ in range(heads))

    def logits(self, pictures: Tensor) -> list[Tensor]:
        """Return the logits of each head, (N, C, H, W) of values in 0 to 1 → (N, clusters) each."""
        features = self.encoder(centred(pictures))
        return [head(features) for head in self.heads]

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the first head's logits, (N, C, H, W) of values in 0 to 1 → (N, clusters)."""
        return self.logits(pictures)[0]


def centred(pictures: Tensor) -> Tensor:
    """Return values in 0 to 1 as values in −1 to 1. BatchNorm follows, so the scale hardly matters."""
    return 2 * pictures - 1
