"""The use of each video of a job: training, choosing (validation), or the last figures alone (test)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from models.jobs.errors import TrainingError
from pipeline.manifests.checks import check_copies, check_split
from pipeline.manifests.folds import TEST, TRAIN, VALIDATION, drawn_split, hold_out_fold, validation_split
from pipeline.manifests.layouts import DIVIDE_GROUPS
from pipeline.manifests.manifest import ManifestError, Video


class VideoChoice(BaseModel):
    """The videos of a recipe, and the use of each.

    Attributes:
        layout: of the folder: ``manifest`` (it holds a ``manifest.jsonl``, or is one), or that of a published data set.
        folder: where they are unless the command names another place; relative to the current folder.
        obtain: how to get them, for people who do not have them.
        hold_out: mark one of this many folds by group as split test, where the data set has no test split.
        draw: draw this many normal and abnormal videos for training, and test on the rest: for data sets that are
            published for training on normal videos alone.
        subset: train on at most this many of the training videos, the first ones of either label, in proportion.
        validation: share of the training videos that is kept, by group, for choosing epochs and thresholds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["manifest", "fights", "shanghaitech", "ucf-crime", "ped2", "folder"] = "manifest"
    folder: Path | None = None
    obtain: str = ""
    hold_out: int | None = Field(None, ge=2)
    draw: tuple[PositiveInt, PositiveInt] | None = None
    subset: int | None = Field(None, ge=2)
    validation: float | None = Field(None, gt=0, le=0.5)


@dataclass(frozen=True, slots=True)
class Plan:
    """The videos of each part; no video is in two of them."""

    train: tuple[Video, ...]
    validation: tuple[Video, ...]
    test: tuple[Video, ...]

    @property
    def known(self) -> tuple[Video, ...]:
        """The videos that may be learned from, in whatever way: all but those of the test."""
        return self.train + self.validation

    def restricted(self, usable: set[Path]) -> Plan:
        """Return the same division of the usable videos alone.

        Raises:
            TrainingError: a part is left without one of the labels.
        """
        parts = [tuple(v for v in part if v.path in usable) for part in (self.train, self.validation, self.test)]
        for name, before, after in zip(
            ("training", VALIDATION, TEST), (self.train, self.validation, self.test), parts, strict=True
        ):
            if len({video.label for video in before}) > len({video.label for video in after}):
                raise TrainingError(
                    f"{len(after)} of the {len(before)} {name} videos can be used, and they lack one of the labels"
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
        videos: of a manifest or an adapter; their splits ``test`` and ``validation`` are kept.
        contents: hashes of the videos' contents by their paths, as far as known: copies are not divided either.
        folds: whether the videos outside the test are divided further, by group.

    Raises:
        TrainingError: a part without one of the labels, groups or copies that are divided, an impossible division, or a
            split of another name: it is unknown whether that may be trained on.
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
    """Return the first videos of either label, at most ``count`` in all, in the proportion of all."""
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
