"""A network together with its loss and its decision: of the label tree, or flat."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from models.places.backbones import new_backbone
from models.places.batches import Batch
from models.places.decision import decide
from models.places.flat import FlatClasses
from models.places.loss import hierarchical_loss
from models.places.network import FlatNetwork, HierarchicalNetwork
from models.places.recipe import PlacesRecipe
from models.places.tree import LabelTree


class Decider(Protocol):
    """Decides about pixels."""

    def decide(self, pictures: Tensor) -> Tensor:
        """Return the node of each pixel, as its index in ``tree.nodes``: uint8 (B, H, W, 3) → int64 (B, H, W)."""
        ...


class Learner(Decider, Protocol):
    """The two kinds of networks behind one interface."""

    @property
    def network(self) -> nn.Module:
        """The network, which reads pictures, uint8 (B, H, W, 3)."""
        ...

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ``loss`` of a batch, and further scalars for the curves."""
        ...


def new_learner(recipe: PlacesRecipe, tree: LabelTree, *, pretrained: bool) -> Learner:
    """Return an untrained network of the recipe's kind.

    Args:
        pretrained: whether the backbone gets fetched weights, where there are any.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    backbone = new_backbone(recipe.backbone, pretrained=pretrained)
    if recipe.kind == "flat":
        classes = FlatClasses(tree)
        return _Flat(FlatNetwork(len(classes.names), backbone, recipe.channels), classes)
    network = HierarchicalNetwork(tree.classifiers, backbone, recipe.channels)
    return _Hierarchical(network, tree, recipe.optimisation.level_weights)


class _Hierarchical:
    def __init__(self, network: HierarchicalNetwork, tree: LabelTree, level_weights: tuple[float, ...]) -> None:
        self.network: nn.Module = network
        self._tree, self._level_weights = tree, level_weights

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.pictures)
        found = hierarchical_loss(self._tree, logits, batch.nodes, batch.boxes, self._level_weights)
        return {"loss": found.total, **{f"loss_of_{name}": loss for name, loss in found.classifiers.items()}}

    def decide(self, pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            return decide(self._tree, self.network(pictures))


class _Flat:
    def __init__(self, network: FlatNetwork, classes: FlatClasses) -> None:
        self.network: nn.Module = network
        self._classes = classes

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self._classes.loss(self.network(batch.pictures), batch.nodes)}

    def decide(self, pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            return self._classes.decide(self.network(pictures))
