"""The divisions of a job's videos into folds, and into training and validation within a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.jobs.errors import TrainingError
from pipeline.manifests.folds import VALIDATION, group_folds, validation_split

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
    from pipeline.manifests.manifest import Video


@dataclass(frozen=True, slots=True)
class FoldParts:
    """The videos of one fold's trainings.

    Attributes:
        held: videos of the fold, which are scored.
        train, validation: those of the other folds.
        label_folds: ordinals within ``train`` of the folds of the pseudo labels; None where they need none.
    """

    held: tuple[Video, ...]
    train: tuple[Video, ...]
    validation: tuple[Video, ...]
    label_folds: list[list[int]] | None


class Divisions:
    """The divisions that a recipe asks for.

    Args:
        seed: of the job. The divisions into folds are drawn from it for all trainings.
    """

    def __init__(self, config: MistConfig, seed: int) -> None:
        self._config, self._seed = config, seed

    def folds(self, known: Sequence[Video]) -> list[list[int]]:
        """Return the ordinals of the videos of each fold by which the networks are judged; no folds without a number.

        Raises:
            TrainingError: the videos cannot be divided like that.
        """
        return [] if self._config.folds is None else self._divided(known, self._config.folds, "folds")

    def label_folds(self, train: Sequence[Video]) -> list[list[int]] | None:
        """Return the ordinals of the videos of each fold of the pseudo labels; None where the recipe has no such folds.

        Raises:
            TrainingError: the videos cannot be divided like that.
        """
        folds = self._config.pseudo_labels.folds
        if folds is None or self._config.encoder is None:
            return None
        return self._divided(train, folds, "pseudo_labels.folds")

    def fold_parts(self, known: Sequence[Video], fold: Sequence[int], seed: int) -> FoldParts:
        """Divide the videos for one fold's trainings; the product's own division into two parts does not count here.

        Raises:
            TrainingError: the videos cannot be divided like that.
        """
        held, others = tuple(known[i] for i in fold), _without(known, fold)
        share = self._config.videos.validation
        if share is None:
            return FoldParts(held, tuple(others), (), self.label_folds(others))
        try:
            marked = validation_split([replace(video, split=None) for video in others], share, seed)
        except ValueError as error:
            raise TrainingError(f"videos.validation, in a fold: {error}") from None
        train = tuple(video for video in marked if video.split != VALIDATION)
        validation = tuple(video for video in marked if video.split == VALIDATION)
        return FoldParts(held, train, validation, self.label_folds(train))

    def check(self, train: Sequence[Video], known: Sequence[Video]) -> None:
        """Check that all divisions are possible: the last of them is hours of training away.

        Args:
            train: the product's training videos.
            known: the videos that the folds divide.

        Raises:
            TrainingError: one of them is not.
        """
        self._check_labels(train, self.label_folds(train))
        divided = self.folds(known)
        for fold in divided:
            for seed in range(self._seed, self._seed + self._config.seeds):
                parts = self.fold_parts(known, fold, seed)
                _check_both_labels(parts.train, "folds", len(divided))
                self._check_labels(parts.train, parts.label_folds)

    @staticmethod
    def _check_labels(videos: Sequence[Video], folds: list[list[int]] | None) -> None:
        for fold in folds or ():
            _check_both_labels(_without(videos, fold), "pseudo_labels.folds", len(folds or ()))

    def _divided(self, videos: Sequence[Video], folds: int, key: str) -> list[list[int]]:
        try:
            return group_folds(videos, folds, self._seed)
        except ValueError as error:
            raise TrainingError(f"{key}: {error}") from None


def _without(videos: Sequence[Video], fold: Sequence[int]) -> list[Video]:
    left_out = set(fold)
    return [video for i, video in enumerate(videos) if i not in left_out]


def _check_both_labels(videos: Sequence[Video], key: str, folds: int) -> None:
    labels = {video.label for video in videos}
    for label, kind in enumerate(("normal", "abnormal")):
        if label not in labels:
            raise TrainingError(
                f"{key}: {folds} folds by group leave one of them no {kind} video to train on; take another number or "
                "another --seed"
            )
