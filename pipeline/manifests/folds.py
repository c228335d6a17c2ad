"""Folds by group: what a model is tested on has nothing in common with what it was trained on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pipeline.manifests.manifest import Video

#: What parts of a data set are for: training, choosing a model, and the figures, by which nothing is chosen.
TRAIN, VALIDATION, TEST = "train", "validation", "test"


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
    return [replace(video, split=TEST if i in held else TRAIN) for i, video in enumerate(videos)]


def validation_split(videos: Sequence[Video], share: float, seed: int) -> list[Video]:
    """Mark about ``share`` of the training videos as split ``validation``, whole groups of them.

    A model may be chosen by them. Videos of split ``train`` and those without a split are for training; all others,
    those of split ``test`` first of all, stay what they are, and the choice does not depend on them. A manifest that
    has a split ``validation`` keeps that one.

    Args:
        videos: of a manifest.
        share: above 0, at most 0.5; met as well as 1 / n can, for a whole n.
        seed: of the choice.

    Raises:
        ValueError: another share, too few groups, or groups of which no fold leaves both labels on both sides.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share {share:g}: expected a share above 0 and at most 0.5")
    if any(video.split == VALIDATION for video in videos):
        return list(videos)
    training = [i for i, video in enumerate(videos) if video.split in (TRAIN, None)]
    for fold in group_folds([videos[i] for i in training], round(1 / share), seed):
        held = {training[i] for i in fold}
        if all(len({videos[i].label for i in part}) == 2 for part in (held, set(training) - held)):
            splits = {i: VALIDATION if i in held else TRAIN for i in training}
            return [replace(video, split=splits.get(i, video.split)) for i, video in enumerate(videos)]
    raise ValueError(
        f"share {share:g}: no {round(1 / share)}th part of the training groups leaves normal and abnormal videos on "
        "both sides; take another share or seed"
    )


def drawn_split(videos: Sequence[Video], *, normal: int, abnormal: int, seed: int) -> list[Video]:
    """Draw so many normal and abnormal videos for split ``train``; the others are split ``test``.

    For data sets that are published for training on normal videos alone, as UCSD Ped2 is. Whatever split the videos
    had is forgotten.

    Raises:
        ValueError: there are fewer, none would be left for the test, or a group has several videos.
    """
    if len({video.group for video in videos}) < len(videos):
        raise ValueError("videos that are drawn one by one may have no groups; hold a fold out instead")
    rng = random.Random(seed)  # noqa: S311  (nothing secret)
    drawn: set[int] = set()
    for label, count in enumerate((normal, abnormal)):
        there = [i for i, video in enumerate(videos) if video.label == label]
        if not 0 < count < len(there):
            which = "abnormal" if label else "normal"
            raise ValueError(f"{count} {which} videos of {len(there)}: expected at least 1, and one left for the test")
        rng.shuffle(there)
        drawn |= set(there[:count])
    return [replace(video, split=TRAIN if i in drawn else TEST) for i, video in enumerate(videos)]
