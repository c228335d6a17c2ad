"""The three losses of a teacher (P. Bergmann et al., Uninformed Students, CVPR 2020, equations 1 to 4).

    L = λk Lk + λm Lm + λc Lc

Each one is a mean over the N patches of a batch, or a figure of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from models.detectors.student_teacher.teacher_recipe import LossWeights

#: Added to the spread of a descriptor's value, for one that is the same in all patches.
_LEAST_SPREAD = 1e-6


class Compactness(StrEnum):
    """The figure of the correlations between the values of descriptors."""

    SUM = "sum"  #: the paper's: the sum of all d² − d entries off the diagonal
    MEAN = "mean"  #: their mean, whose weight does not depend on d


def distillation(decoded: Tensor, published: Tensor) -> Tensor:
    """Return Lk, the squared distance from a published network's vectors: ‖D(T(p)) − P(p)‖².

    Args:
        decoded: what the decoder makes of the descriptors, float32 (N, C).
        published: the vectors of the published network for the same patches, float32 (N, C).

    Raises:
        ValueError: their shapes differ.
    """
    if decoded.shape != published.shape:
        raise ValueError(f"expected as many decoded values as published ones, got {decoded.shape}, {published.shape}")
    return (decoded - published).square().sum(1).mean()


def triplets(anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 1.0) -> Tensor:
    """Return Lm, the triplet loss with anchor swap: max(0, δ + δ⁺ − δ⁻).

    δ⁺ is the squared distance of anchor and positive. δ⁻ is that of the negative from the nearer one of the two.

    Args:
        anchor, positive, negative: descriptors of patches, of the same ones seen otherwise, and of patches of other
            pictures; float32 (N, d).
        margin: δ.
    """
    near = (anchor - positive).square().sum(1)
    far = torch.minimum((anchor - negative).square().sum(1), (positive - negative).square().sum(1))
    return F.relu(margin + near - far).mean()


def compactness(descriptors: Tensor, form: Compactness = Compactness.SUM) -> Tensor:
    """Return Lc, the correlations between different values of the descriptors of a batch, summed.

    Args:
        descriptors: float32 (N, d), N at least 2.

    Raises:
        ValueError: fewer than two descriptors.
    """
    if len(descriptors) < 2:
        raise ValueError(f"correlations need at least 2 descriptors, got {len(descriptors)}")
    centred = descriptors - descriptors.mean(0)
    unit = centred / (centred.norm(dim=0) + _LEAST_SPREAD)
    # Σ over all i and j of the products of two columns is the square of the sum of the columns.
    off_diagonal: Tensor = unit.sum(1).square().sum() - unit.square().sum()
    values = descriptors.shape[1]
    return off_diagonal if form is Compactness.SUM else off_diagonal / (values * (values - 1))


def weighted_sum(
    weights: LossWeights,
    decoded: Tensor,
    published: Tensor,
    described: Tensor,
    views: Callable[[], tuple[Tensor, Tensor]],
) -> Tensor:
    """Return L.

    Args:
        decoded, published: see :func:`distillation`.
        described: the descriptors, float32 (N, d).
        views: returns the positives and the negatives of the descriptors, (N, d) each; called for triplets alone.
    """
    loss = weights.distillation * distillation(decoded, published)
    loss = loss + weights.compactness * compactness(described, weights.compactness_form)
    if weights.triplets:
        loss = loss + weights.triplets * triplets(described, *views(), margin=weights.margin)
    return loss
