"""Sparse continuous sampling (MIST, section 3.2): from a video of any length, L sub-bags of T consecutive clips.

Sparse, so that a long video is covered by few clips; continuous within a sub-bag, because an anomaly lasts, and a
single high score among low ones is more often a mistake than an incident.

And the batches that both stages go through: as many abnormal as normal videos in each.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def sparse_continuous(
    lengths: Tensor, sub_bags: int, clips: int, *, rng: torch.Generator | None = None, shared_shift: bool = False
) -> Tensor:
    """Choose sub-bags in each of B videos.

    The possible starts of a sub-bag, 0 … n - T, are divided into L equal stretches, and one start is drawn from each.
    Where there are fewer starts than stretches some are drawn more than once. In a video shorter than a sub-bag the
    last clip stands in for those that are missing.

    Args:
        lengths: int64 (B,), the number n of each video's clips, at least 1.
        sub_bags: L.
        clips: T, consecutive clips of a sub-bag.
        rng: source of the starts; None takes the middle of each stretch.
        shared_shift: one draw a video moves all its sub-bags alike, as in the public reference.

    Returns:
        int64 (B, L, T), ordinals of clips, each within its video.

    Raises:
        ValueError: a video without a clip, or fewer than one sub-bag or clip.
    """
    if sub_bags < 1 or clips < 1 or int(lengths.min()) < 1:
        raise ValueError(
            f"sub-bags, their clips and the videos' clips must each be at least 1, got {sub_bags}, {clips} and "
            f"{int(lengths.min())}"
        )
    drawn = (len(lengths), 1 if shared_shift else sub_bags)
    place = torch.full(drawn, 0.5) if rng is None else torch.rand(drawn, generator=rng)
    starts_possible = (lengths - clips + 1).clamp(min=1)[:, None]
    starts = (torch.arange(sub_bags) + place) / sub_bags * starts_possible
    # float32 rounds a draw just below 1 up; hence the second limit.
    first = torch.minimum(starts.floor().long(), starts_possible - 1)
    chosen = first[:, :, None] + torch.arange(clips)
    return torch.minimum(chosen, lengths[:, None, None] - 1)


def balanced_batches(
    abnormal: Tensor, normal: Tensor, size: int, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches of about equal size with as many abnormal as normal videos, once over the smaller set.

    Args:
        abnormal, normal: int64 (A,) and (N,), ordinals of videos.
        size: videos of each label in a batch at most.
        rng: source of their order.

    Yields:
        Ordinals of abnormal and of as many normal videos.
    """
    count = min(len(abnormal), len(normal))
    above = abnormal[torch.randperm(len(abnormal), generator=rng)][:count]
    below = normal[torch.randperm(len(normal), generator=rng)][:count]
    steps = -(-count // size)
    yield from zip(above.tensor_split(steps), below.tensor_split(steps), strict=True)
