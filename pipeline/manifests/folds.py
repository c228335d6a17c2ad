"""Folds by group: what a model is tested on has nothing in common with what it was trained on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pipeline.manifests.manifest import Video


def group_folds(videos: Sequence[Video], folds: int, seed: int) -> list[list[int]]:
    """Divide videos into folds of whole groups, about equal in their numbers of normal and of abnormal videos.

    The groups are shuffled by ``seed``; then, the largest first, each goes where it leaves the folds most alike. Plain
    arithmetic, so the same videos and seed give the same folds on every machine, for ever.

    Returns:
        For each fold the ordinals of its videos, ascending.

    Raises:
        ValueError: fewer groups than folds, or fewer than two folds.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for ordinal, video in enumerate(videos):
        members[video.group].append(ordinal)
    if not 2 <= folds <= len(members):
        raise ValueError(f"{folds} folds need at least 2 and at most as many folds as groups, of which {len(members)}")
    groups = sorted(members)
    random.Random(seed).shuffle(groups)  # noqa: S311  (nothing secret)
    groups.sort(key=lambda group: -len(members[group]))
    totals = [max(sum(video.label == label for video in videos), 1) for label in (0, 1)]
    shares = [[0.0, 0.0] for _ in range(folds)]
    chosen: list[list[int]] = [[] for _ in range(folds)]
    for group in groups:
        share = [sum(videos[i].label == label for i in members[group]) / totals[label] for label in (0, 1)]

        def unevenness(fold: int, share: list[float] = share) -> float:
            """How much the sum of the squared shares grows."""
            return sum((old + new) ** 2 - old**2 for old, new in zip(shares[fold], share, strict=True))

        # An empty fold first: with few groups every fold must get one.
        fold = min(range(folds), key=lambda fold: (unevenness(fold), len(chosen[fold])))
        shares[fold] = [old + new for old, new in zip(shares[fold], share, strict=True)]
        chosen[fold] += members[group]
    return [sorted(fold) for fold in chosen]


def hold_out_fold(videos: Sequence[Video], folds: int, seed: int) -> list[Video]:
    """Mark the first of so many folds as split ``test`` and the others as ``train``.

    Raises:
        ValueError: see :func:`group_folds`.
    """
    held = set(group_folds(videos, folds, seed)[0])
    return [replace(video, split="test" if i in held else "train") for i, video in enumerate(videos)]
