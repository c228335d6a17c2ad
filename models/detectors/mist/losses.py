"""The losses of MIST's two stages.

The multiple-instance ranking loss of the generator comes as the paper writes it and as the public reference has it.
Both push the score S of an abnormal video's bag above that of a normal one by a margin of 1, and keep the scores of
abnormal videos sparse. They differ in what a bag's score is, and in which pairs are compared.

The encoder learns the generator's pseudo labels by a cross-entropy, which takes them as they are: as probabilities.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def paper_bag_scores(scores: Tensor) -> Tensor:
    """(B, L, T) → (B,): the highest of the sub-bags' means."""
    return scores.mean(dim=2).amax(dim=1)


def top_k_bag_scores(scores: Tensor, k: int) -> Tensor:
    """(B, L, T) → (B,): the mean of the k highest clips among all that were sampled."""
    return scores.flatten(1).topk(k, dim=1).values.mean(dim=1)


def paper_ranking_loss(
    abnormal: Tensor, normal: Tensor, *, sparsity: float = 0.01, weights: Tensor | None = None
) -> Tensor:
    """The mean over i of max(0, 1 - S(abnormal_i) + S(normal_i)) + λ · mean of abnormal_i's sub-bag scores.

    Args:
        abnormal, normal: (B, L, T), scores in [0, 1]; the i-th video of one is paired with the i-th of the other.
        weights: (B,), of the normal videos in the mean over pairs; equal ones when None.

    Raises:
        ValueError: not as many normal videos as abnormal ones.
    """
    if len(abnormal) != len(normal):
        raise ValueError(f"the paper's loss pairs videos: got {len(abnormal)} abnormal and {len(normal)} normal ones")
    margin = F.relu(1 - paper_bag_scores(abnormal) + paper_bag_scores(normal))
    return _mean(margin, weights) + sparsity * abnormal.mean()


def reference_ranking_loss(
    abnormal: Tensor, normal: Tensor, *, top_k: int = 7, sparsity: float = 0.01, weights: Tensor | None = None
) -> Tensor:
    """The mean over all pairs of max(0, 1 - S(abnormal_i) + S(normal_j)) + λ · mean abnormal clip score.

    Args:
        abnormal: (P, L, T), normal: (N, L, T), scores in [0, 1].
        top_k: how many clips make a bag's score.
        weights: (N,), of the normal videos in the mean over pairs; equal ones when None.
    """
    above = top_k_bag_scores(abnormal, top_k)[:, None]
    below = top_k_bag_scores(normal, top_k)[None, :]
    return _mean(F.relu(1 - above + below), weights) + sparsity * abnormal.mean()


def _mean(margins: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of (..., N), weighted along the last axis."""
    if weights is None:
        return margins.mean()
    return (margins * weights).sum(-1).mean() / weights.sum()


def soft_label_cross_entropy(logits: Tensor, soft: Tensor, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """-(w_normal · (1 - s) · log p_normal + w_abnormal · s · log p_abnormal) of each clip, p the softmax of its logits.

    The paper's cross-entropy on soft labels (section 3.3), with the class weights of the public reference. Not
    averaged: a step that is divided among processes is averaged over all their clips.

    Args:
        logits: (N, 2), normal and anomaly.
        soft: (N,), s in [0, 1].
        weights: w_normal and w_abnormal.

    Returns:
        (N,), computed in float32 whatever the logits are.
    """
    normal, abnormal = F.log_softmax(logits.float(), dim=1).unbind(1)
    return -(weights[0] * (1 - soft) * normal + weights[1] * soft * abnormal)
