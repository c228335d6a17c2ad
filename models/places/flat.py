"""The flat baseline: one softmax over all classes that some data set labels (P. Meletis, G. Dubbelman 2018).

A class and those below it compete: ``vehicle`` of one data set, ``cart`` of another one. The protocol that makes the
comparison fair takes both: a pixel of a subclass is right if its subclass comes first, or if the class above comes
first and the subclass second.
"""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from models.places.tree import LabelTree
from operators.figures.segments import VOID


class FlatClasses:
    """The classes of a flat classifier: the leaves of a label tree, and the inner nodes that a data set labels.

    Attributes:
        names: of the classes, parents before their children.
    """

    def __init__(self, tree: LabelTree) -> None:
        self._tree = tree
        labelled = {node for one in tree.data_sets.values() for node in one.nodes}
        self.names = tuple(node for node in tree.nodes if node in labelled or node not in tree.classifiers)

    @cached_property
    def _nodes(self) -> Tensor:
        """The node of each class, (classes,)."""
        return torch.tensor([self._tree.index[name] for name in self.names])

    @cached_property
    def _below(self) -> Tensor:
        """True where the second class stands below the first one, (classes, classes)."""
        return torch.tensor([[name in self._tree.path(other)[:-1] for other in self.names] for name in self.names])

    def loss(self, logits: Tensor, nodes: Tensor) -> Tensor:
        """Return the mean of −log σ_y over labelled pixels, of masks and of boxes alike; 0 where there are none.

        Args:
            logits: (B, classes, H, W).
            nodes: the node of each pixel by its index in ``tree.nodes``, or VOID, (B, H, W), int64.
        """
        # VOID is the last place of the table, whose index from the end is VOID.
        table = torch.full((len(self._tree.nodes) + 1,), VOID)
        table[self._nodes] = torch.arange(len(self.names))
        targets = table.to(nodes.device)[nodes]
        number = (targets != VOID).sum().clamp(min=1)
        return F.cross_entropy(logits, targets, ignore_index=VOID, reduction="sum") / number

    def decide(self, logits: Tensor) -> Tensor:
        """Return the node of each pixel, as its index in ``tree.nodes``, (B, H, W).

        The first class decides. Where it is an inner node and the second class stands below it, the second one decides,
        and so on. A pixel whose second class stands elsewhere keeps the inner node, which counts as wrong below.

        Args:
            logits: (B, classes, H, W).
        """
        ranked = logits.topk(min(self._tree.depth, len(self.names)), dim=1).indices
        below = self._below.to(logits.device)
        chosen = ranked[:, 0]
        goes_on = torch.ones_like(chosen, dtype=torch.bool)
        for rank in range(1, ranked.shape[1]):
            goes_on = goes_on & below[chosen, ranked[:, rank]]
            chosen = torch.where(goes_on, ranked[:, rank], chosen)
        return self._nodes.to(logits.device)[chosen]
