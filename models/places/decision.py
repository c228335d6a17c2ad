"""The decision rule of hierarchical classifiers (P. Meletis, G. Dubbelman 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.places.tree import ROOT, LabelTree


def decide(tree: LabelTree, scores: Mapping[str, Tensor]) -> Tensor:
    """Return the leaf of each pixel, as its index in ``tree.nodes``, (B, H, W).

    The root's classifier chooses a class. While the chosen class is an inner node, its own classifier chooses among its
    children. From n = root::

        n ← the child of n that argmax over c of scores[n][c] names,    until n is a leaf

    Args:
        scores: logits or probabilities of each classifier, (B, classes, H, W), its classes in the tree's order.

    Raises:
        ValueError: see :func:`check_scores`.
    """
    check_scores(tree, scores)
    reached: Tensor | None = None
    for classifier, children in tree.classifiers.items():
        nodes = torch.tensor([tree.index[child] for child in children], device=scores[classifier].device)
        chosen = nodes[scores[classifier].argmax(1)]
        reached = chosen if reached is None else torch.where(reached == tree.index[classifier], chosen, reached)
    assert reached is not None  # a tree has a root
    return reached


def check_scores(tree: LabelTree, scores: Mapping[str, Tensor]) -> None:
    """Check the scores of all classifiers.

    Raises:
        ValueError: the scores are not those of the tree's classifiers, or their shapes differ in more than the number
            of classes.
    """
    if scores.keys() != tree.classifiers.keys():
        raise ValueError(f"expected scores of {', '.join(tree.classifiers)}, got {', '.join(scores)}")
    expected = tuple(scores[ROOT].shape)
    for classifier, children in tree.classifiers.items():
        shape = tuple(scores[classifier].shape)
        if len(shape) != 4 or shape != (expected[0], len(children), *expected[2:]):
            raise ValueError(
                f"scores of {classifier} must have the shape (B, {len(children)}, H, W) and the root's B, H and W, got "
                f"{shape}"
            )
