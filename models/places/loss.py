"""The hierarchical loss (P. Meletis, G. Dubbelman 2018): one tree learns from masks and from boxes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.places.decision import check_scores
from models.places.tree import ROOT, LabelTree
from operators.figures.segments import VOID

#: λ of the classifiers by level, from the root's.
LEVEL_WEIGHTS = (1.0, 0.1, 0.1)


class HierarchicalLoss(NamedTuple):
    """The loss, a scalar, and the unweighted loss of each classifier, scalars."""

    total: Tensor
    classifiers: dict[str, Tensor]


def hierarchical_loss(
    tree: LabelTree,
    logits: Mapping[str, Tensor],
    nodes: Tensor,
    boxes: Tensor,
    level_weights: Sequence[float] = LEVEL_WEIGHTS,
) -> HierarchicalLoss:
    """Return the loss of a batch from data sets of masks and of boxes.

    Classifier j learns from the pixels whose node stands below j. Its target y is the child on the way to that node::

        L_j = mean over P₁ of −log σ_y  +  mean over P₂ of −log σ_y
        L   = Σ_j λ_{level of j} L_j

    P₁ are pixels of masks. P₂ are pixels of boxes that the current decision of j's parent assigns to j, because a box
    contains more than its object. The root does not learn from boxes. A mean over no pixel is 0, with gradients of 0.
    No gradient flows through the decision.

    The parent's decision is its own argmax, as in the authors' code. It does not depend on the classifiers above.

    Args:
        logits: of each classifier, (B, classes, H, W), its classes in the tree's order.
        nodes: the node of each pixel by its index in ``tree.nodes``, or VOID, (B, H, W), int64.
        boxes: true for pictures whose pixels come from boxes, (B,), bool.
        level_weights: λ by level; deeper levels have the last one.

    Raises:
        ValueError: shapes that do not fit, a node that does not exist, or no weight.
    """
    check_scores(tree, logits)
    _check_targets(tree, logits[ROOT], nodes, boxes)
    if not level_weights:
        raise ValueError("level_weights must hold at least one weight")
    losses = {}
    total = logits[ROOT].new_zeros(())
    for classifier in tree.classifiers:
        own = logits[classifier]
        targets = _targets(tree, classifier, nodes)
        of_boxes = boxes[:, None, None].expand_as(targets)
        loss = _mean_cross_entropy(own, targets.masked_fill(of_boxes, VOID))
        if classifier != ROOT:
            parent = tree.parents[classifier]
            assigned = logits[parent].argmax(1) == tree.classifiers[parent].index(classifier)
            loss = loss + _mean_cross_entropy(own, targets.masked_fill(~(of_boxes & assigned), VOID))
        losses[classifier] = loss
        total = total + level_weights[min(tree.level(classifier), len(level_weights)) - 1] * loss
    return HierarchicalLoss(total, losses)


def _targets(tree: LabelTree, classifier: str, nodes: Tensor) -> Tensor:
    """Return the class of each pixel for a classifier, or VOID, (B, H, W)."""
    table = torch.from_numpy(tree.class_of_nodes(classifier)).to(nodes.device)
    # VOID is the last place of the table, whose index from the end is VOID.
    return torch.cat([table, table.new_tensor([VOID])])[nodes]


def _mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of −log σ_y over pixels that have a target; 0 where there are none."""
    number = (targets != VOID).sum().clamp(min=1)
    return F.cross_entropy(logits, targets, ignore_index=VOID, reduction="sum") / number


def _check_targets(tree: LabelTree, root: Tensor, nodes: Tensor, boxes: Tensor) -> None:
    batch, _, height, width = root.shape
    if tuple(nodes.shape) != (batch, height, width) or tuple(boxes.shape) != (batch,):
        raise ValueError(
            f"nodes must have the shape {(batch, height, width)} and boxes {(batch,)}, got {tuple(nodes.shape)} and "
            f"{tuple(boxes.shape)}"
        )
    if nodes.dtype != torch.int64 or boxes.dtype != torch.bool:
        raise ValueError(f"nodes must be int64 and boxes bool, got {nodes.dtype} and {boxes.dtype}")
    if nodes.numel() and not (int(nodes.min()) >= VOID and int(nodes.max()) < len(tree.nodes)):
        raise ValueError(f"nodes must be 0 to {len(tree.nodes) - 1}, or {VOID} for void")
