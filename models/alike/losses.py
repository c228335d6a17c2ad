"""The losses of SimCLR (T. Chen et al. 2020) and SCAN (W. Van Gansbeke et al. 2020)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: τ of NT-Xent, as in SCAN's code.
TEMPERATURE = 0.1
#: λ of SCAN's entropy term.
ENTROPY_WEIGHT = 5.0
#: Least probability of the weak view's class with which a sample is learned from in self-labelling.
CONFIDENCE = 0.99

#: Least probability of which a logarithm is taken, so that a cluster without members has a finite entropy.
_LEAST = 1e-8


def nt_xent_first_views(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return NT-Xent with the first views as anchors, b against 2b, as in SCAN's code.

    With z = (first, second), s(i, k) = z_i · z_k / τ and the positive b + i of anchor i::

        loss = mean over i < b of  −s(i, b + i) + log Σ_{k ≠ i} exp s(i, k)

    Args:
        first, second: the two views of b samples, L2-normalised, (b, D) each.

    Raises:
        ValueError: the views are not two equal lists of at least two vectors, or the temperature is not above 0.
    """
    _check_views(first, second, temperature)
    return _nt_xent(first, torch.cat([first, second]), len(first), temperature)


def nt_xent_all_views(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return NT-Xent with all 2b views as anchors, SimCLR's equation 1.

    The loss of :func:`nt_xent_first_views`, averaged over all views. The positive of i is i + b modulo 2b.

    Args:
        first, second: the two views of b samples, L2-normalised, (b, D) each.

    Raises:
        ValueError: the views are not two equal lists of at least two vectors, or the temperature is not above 0.
    """
    _check_views(first, second, temperature)
    views = torch.cat([first, second])
    return _nt_xent(views, views, len(first), temperature)


def scan_loss(anchors: Tensor, neighbours: Tensor, entropy_weight: float = ENTROPY_WEIGHT) -> ScanLoss:
    """Return SCAN's clustering loss, its equation 2, and the two terms of it.

    With p_i and q_i, the class probabilities of a sample and of one of its neighbours, and λ the entropy's weight::

        loss = −mean of log(p_i · q_i) + λ Σ_c p'_c log p'_c,    p' = mean of p_i

    The first term is computed from log-probabilities, so it stays finite where the two share no class.

    Args:
        anchors, neighbours: logits of samples and of a neighbour of each, (b, C) each.

    Raises:
        ValueError: the logits have different shapes, or there are none.
    """
    if anchors.ndim != 2 or anchors.shape != neighbours.shape or not anchors.numel():
        raise ValueError(
            f"logits must be two equal shapes (b, C), got {tuple(anchors.shape)} and {tuple(neighbours.shape)}"
        )
    log_products = torch.logsumexp(anchors.log_softmax(1) + neighbours.log_softmax(1), dim=1)
    consistency = -log_products.mean()
    entropy = _entropy(anchors.softmax(1).mean(0))
    return ScanLoss(consistency - entropy_weight * entropy, consistency, entropy)


class ScanLoss(NamedTuple):
    """SCAN's loss: ``total`` = ``consistency`` − weight · ``entropy``, scalars."""

    total: Tensor
    consistency: Tensor
    entropy: Tensor


def self_label_loss(
    weak: Tensor, strong: Tensor, confidence: float = CONFIDENCE, *, balanced: bool = True
) -> SelfLabelLoss:
    """Return SCAN's self-labelling loss: the strong view learns the class of a confident weak view.

    The cross-entropy of the strong view's logits for the weak view's most probable class, over samples whose
    probability of it is above ``confidence``. With n_c of n confident samples in class c, a sample has the weight
    n / n_c. The loss is the weighted mean, so each class that occurs counts the same. No gradient flows through the
    weak view.

    A batch without a confident sample has the loss 0 with gradients of 0: its step learns nothing.

    Args:
        weak, strong: logits of the two views of samples, (b, C) each.
        balanced: weigh the classes; otherwise all samples count the same.

    Raises:
        ValueError: the logits have different shapes.
    """
    if weak.ndim != 2 or weak.shape != strong.shape:
        raise ValueError(f"logits must be two equal shapes (b, C), got {tuple(weak.shape)} and {tuple(strong.shape)}")
    probability, target = weak.detach().softmax(1).max(1)
    confident = probability > confidence
    number = int(confident.sum())
    if not number:
        return SelfLabelLoss(strong.sum() * 0.0, 0)
    chosen = target[confident]
    weights = None
    if balanced:
        counts = torch.bincount(chosen, minlength=weak.shape[1])
        weights = number / counts.clamp(min=1).to(strong.dtype)
    return SelfLabelLoss(F.cross_entropy(strong[confident], chosen, weights), number)


class SelfLabelLoss(NamedTuple):
    """The self-labelling loss, a scalar, and the number of confident samples."""

    total: Tensor
    confident: int


def _check_views(first: Tensor, second: Tensor, temperature: float) -> None:
    if first.ndim != 2 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            "views must be two equal shapes (b, D) of at least two samples, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")


def _nt_xent(anchors: Tensor, views: Tensor, samples: int, temperature: float) -> Tensor:
    """Return NT-Xent of the first views among ``views``: anchor i is view i."""
    rows = torch.arange(len(anchors), device=anchors.device)
    similarities = anchors @ views.T / temperature
    # A sample is never its own negative. cross_entropy shifts by the largest value before it takes exponentials.
    similarities = similarities.masked_fill(rows[:, None] == torch.arange(len(views), device=rows.device), -torch.inf)
    return F.cross_entropy(similarities, (rows + samples) % len(views))


def _entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of a distribution, (C,) → scalar, in nats."""
    return -(probabilities * probabilities.clamp(min=_LEAST).log()).sum()
