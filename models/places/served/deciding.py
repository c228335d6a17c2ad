"""The served network of places: from pictures to the class of each pixel, with the decision rule in its graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.places.decision import decide
from models.places.tree import LabelTree

#: Number of nodes whose indices fit into the output's type.
MOST_NODES = 255


class DecidingNetwork(nn.Module):
    """A network of hierarchical classifiers and the rule that decides by them.

    Args:
        network: gives the logits of each classifier of ``tree``, as
            :class:`models.places.network.HierarchicalNetwork` does.

    Raises:
        ValueError: the tree has more nodes than the output has values.
    """

    def __init__(self, network: nn.Module, tree: LabelTree) -> None:
        if len(tree.nodes) > MOST_NODES:
            raise ValueError(f"the label tree has too many classes (got {len(tree.nodes)}); expected {MOST_NODES}")
        super().__init__()
        self.network = network
        self.tree = tree

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → index of the leaf of each pixel in the tree's nodes, uint8 (N, H, W)."""
        return decide(self.tree, self.network(pictures)).to(torch.uint8)
