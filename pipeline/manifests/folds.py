"""Folds by group: test videos have no group in common with the training videos."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pipeline.manifests.manifest import Video

#: Parts of a data set: for training, for choosing a model, and for the reported figures.
TRAIN, VALIDATION, TEST = "train", "validation", "test"


def group_folds(videos: Sequence[Video], folds: int, seed: int) -> list[list[int]]:
    """Divide videos into folds of whole groups, about equal in their numbers of normal and of abnormal videos.

    The groups are shuffled by ``seed``; then, the largest first, each is added to the fold that keeps the folds most
    alike. Plain arithmetic: the same videos and seed give the same folds on every machine.

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
            """Return the growth of the sum of the squared shares."""
            return sum((old + new) ** 2 - old**2 for old, new in zip(shares[fold], share, strict=True))

        # Empty folds first: with few groups, too, every fold must get one.
        fold = min(range(folds), key=lambda fold: (unevenness(fold), len(chosen[fold])))
        shares[fold] = [old + new for old, new in zip(shares[fold], share, strict=True)]
        chosen[fold] += members[group]
    return [sorted(fold) for fold in chosen]


def hold_out_fold(videos: Sequence[Video], folds: int, seed: int) -> list[Video]:
    """Mark the first of ``folds`` folds as split ``test`` and the others as ``train``.

    Raises:
        ValueError: see :func:`group_folds`.
    """
    held = set(group_folds(videos, folds, seed)[0])
    return [replace(video, split=TEST if i in held else TRAIN) for i, video in enumerate(videos)]


def validation_split(videos: Sequence[Video], share: float, seed: int) -> list[Video]:
    """Mark about ``share`` of the training videos, in whole groups, as split ``validation``.

    The validation videos serve to choose a model. Videos of split ``train`` and those without a split are for training.
    All others, above all those of split ``test``, are unchanged, and the choice does not depend on them. A manifest
    that has a split ``validation`` keeps it.

    Args:
        share: above 0, at most 0.5; approximated by 1 / n with a whole n.

    Raises:
        ValueError: a share out of range, too few groups, or no fold leaves both labels on both sides.
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
        "both sides; use another share or seed"
    )


def drawn_split(videos: Sequence[Video], *, normal: int, abnormal: int, seed: int) -> list[Video]:
    """Draw ``normal`` and ``abnormal`` videos for split ``train``; the others are split ``test``.

    For data sets that are published for training on normal videos alone, as UCSD Ped2 is. Existing splits are
    discarded.

    Raises:
        ValueError: too few videos, none left for the test, or a group with several videos.
    """
    if len({video.group for video in videos}) < len(videos):
        raise ValueError(
            "groups: videos can be drawn one by one only if each is its own group; hold out a fold instead"
        )
    rng = random.Random(seed)  # noqa: S311  (nothing secret)
    drawn: set[int] = set()
    for label, count in enumerate((normal, abnormal)):
        candidates = [i for i, video in enumerate(videos) if video.label == label]
        if not 0 < count < len(candidates):
            kind = "abnormal" if label else "normal"
            raise ValueError(
                f"{count} {kind} videos of {len(candidates)}: expected at least 1, and one left for the test"
            )
        rng.shuffle(candidates)
        drawn |= set(candidates[:count])
    return [replace(video, split=TRAIN if i in drawn else TEST) for i, video in enumerate(videos)]
