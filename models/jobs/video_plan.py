"""What each video of a job is for: training, choosing (validation), or the last figures alone (test)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.detectors.mist.config import VideoChoice
from models.detectors.mist.generator_training import TrainingError
from pipeline.manifests.checks import check_copies, check_split
from pipeline.manifests.folds import TEST, TRAIN, VALIDATION, drawn_split, hold_out_fold, validation_split
from pipeline.manifests.layouts import DIVIDE_GROUPS
from pipeline.manifests.manifest import ManifestError, Video


@dataclass(frozen=True, slots=True)
class Plan:
    """Videos by what they are for; none is in two of them."""

    train: tuple[Video, ...]
    validation: tuple[Video, ...]
    test: tuple[Video, ...]

    @property
    def known(self) -> tuple[Video, ...]:
        """All that may be learned from, in whatever way: everything but the test's."""
        return self.train + self.validation

    def of(self, usable: set[Path]) -> Plan:
        """The same division of those videos that can be used.

        Raises:
            TrainingError: a part is left without one of the labels.
        """
        parts = [tuple(v for v in part if v.path in usable) for part in (self.train, self.validation, self.test)]
        for name, before, after in zip(
            ("training", VALIDATION, TEST), (self.train, self.validation, self.test), parts, strict=True
        ):
            if len({video.label for video in before}) > len({video.label for video in after}):
                raise TrainingError(
                    f"of the {len(before)} {name} videos {len(after)} can be used, and not of both labels"
                )
        return Plan(*parts)


def planned(
    videos: Sequence[Video],
    choice: VideoChoice,
    seed: int,
    *,
    contents: Mapping[Path, str] | None = None,
    folds: bool = False,
) -> Plan:
    """Divide a data set.

    Args:
        videos: of a manifest or an adapter; their splits ``test`` and ``validation`` are heeded.
        choice: how.
        seed: of what is drawn here.
        contents: hashes of the videos' contents by their paths, where they are known: copies are not divided either.
        folds: what is not the test's will be divided further, by group.

    Raises:
        TrainingError: a part without one of the labels, groups or copies that are divided, a division that cannot be,
            or a split of another name, of which nobody knows whether it may be trained on.
    """
    for video in videos:
        if video.split not in (TRAIN, VALIDATION, TEST, None):
            raise TrainingError(f"{video.path}: split must be {TRAIN}, {VALIDATION} or {TEST}, got {video.split!r}")
    try:
        if choice.hold_out is not None:
            if any(video.split == TEST for video in videos):
                raise TrainingError("the data set has a test split of its own; remove videos.hold_out from the recipe")
            videos = hold_out_fold(videos, choice.hold_out, seed)
        if choice.draw is not None:
            videos = drawn_split(videos, normal=choice.draw[0], abnormal=choice.draw[1], seed=seed)
        if choice.subset is not None:
            kept = {video.path for video in subset([v for v in videos if v.split != TEST], choice.subset)}
            videos = [video for video in videos if video.split == TEST or video.path in kept]
        if choice.validation is not None:
            videos = validation_split(videos, choice.validation, seed)
        check_split(videos, whole_groups=choice.layout not in DIVIDE_GROUPS)
        check_copies(videos, contents or {}, folds=folds)
    except (ManifestError, ValueError) as error:
        raise TrainingError(str(error)) from None
    special = (VALIDATION, TEST)
    return Plan(
        tuple(video for video in videos if video.split not in special),
        tuple(video for video in videos if video.split == VALIDATION),
        tuple(video for video in videos if video.split == TEST),
    )


def subset(videos: Sequence[Video], count: int) -> list[Video]:
    """The first ones of either label, ``count`` in all, in the proportion of all; every one where there are no more."""
    if len(videos) <= count:
        return list(videos)
    abnormal = round(count * sum(video.label for video in videos) / len(videos))
    left = [count - abnormal, abnormal]
    chosen = []
    for video in videos:
        if left[video.label] > 0:
            left[video.label] -= 1
            chosen.append(video)
    return chosen
