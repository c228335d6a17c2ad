"""Ignored places in each family whose HEAT is absolute: they count for nothing, and all else is as before, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from walking_films import HEIGHT, WIDTH, pictures

from models.detectors.autoencoder.normal_errors import NormalErrors
from models.detectors.autoencoder.program import AutoencoderScorer
from models.detectors.fused.program import FusedScorer, Members
from models.detectors.memory_bank.distances import Neighbours
from models.detectors.memory_bank.program import MemoryBankScorer
from models.detectors.motion.program import MotionScorer
from models.detectors.outlier.judging import Judge
from models.detectors.outlier.program import PlaceScorer, PooledScorer
from models.detectors.outlier.projection import Projection
from models.detectors.outlier.svm import SvmScorer
from models.detectors.student_teacher.program import ClipMaps, StudentTeacherScorer
from models.detectors.student_teacher.strangeness import NormalMaps
from operators.motion import CELL, RowStatistics
from operators.rarity import TAIL_FROM, Rarity

ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL
RARITY = Rarity(np.array([0.0, 1.0]), np.array([0.0, TAIL_FROM]), 1.0)
Floats = npt.NDArray[np.float32]


class Cells:
    """A network whose outputs for a picture are its cells of 8 × 8 pixels, some of them in several channels."""

    name = "cells"

    def __init__(self, **channels: int) -> None:
        self._channels = channels

    def run(self, values: Any) -> dict[str, Floats]:
        pictures = values["PICTURE"] if isinstance(values, dict) else values
        grey = pictures.reshape(len(pictures), -1, *pictures.shape[-3:])[:, -1].mean(axis=-1, dtype=np.float32)
        cells = grey.reshape(len(grey), ROWS, CELL, COLUMNS, CELL).mean(axis=(2, 4)) / 255
        found = {}
        for name, channels in self._channels.items():
            several = np.stack([cells ** (n + 1) for n in range(max(channels, 1))], axis=1)
            found[name] = several if channels else several.mean(axis=(2, 3))
        return found


def motion() -> MotionScorer:
    return MotionScorer(RowStatistics(*np.ones((2, 2, ROWS), np.float32)), RARITY)


def memory_bank() -> MemoryBankScorer:
    return MemoryBankScorer(Cells(DESCRIPTORS=3), Neighbours(np.zeros((2, 3), np.float32)), RARITY)


def autoencoder() -> AutoencoderScorer:
    normal = NormalErrors(np.zeros((2, 1, 1), np.float32), np.ones((2, 1, 1), np.float32))
    return AutoencoderScorer(Cells(ERRORS=2, CODE=0), normal, RARITY)


def student_teacher() -> StudentTeacherScorer:
    normal = NormalMaps(
        np.zeros((2, 3, 1, 1), np.float32), np.ones((2, 3, 1, 1), np.float32), *np.ones((2, 2), np.float32)
    )
    students = Cells(ERRORS=3, VARIANCES=3, DESCRIBED=0)
    return StudentTeacherScorer(ClipMaps(Cells(DESCRIPTORS=3), students), normal, RARITY)


def judge(*, pooled: bool) -> Judge:
    estimator = SvmScorer(vectors=np.zeros((1, 3)), weights=np.ones(1), gamma=1.0, offset=1.0)
    return Judge("svm", estimator, Projection.from_arrays({}), pooled=pooled)


def outlier() -> PlaceScorer:
    return PlaceScorer(Cells(DESCRIPTORS=3), judge(pooled=False), RARITY, frames=1)


def fused() -> FusedScorer:
    return FusedScorer(Members([memory_bank(), motion()], [1, 2]), "decades", RARITY)


@pytest.fixture(scope="module")
def clips() -> npt.NDArray[np.uint8]:
    """Three clips of two frames with walkers and a runner."""
    shown = pictures(8, running=[(0, 8)])
    stacked = np.stack([np.stack([shown[at], shown[at + 1]]) for at in (14, 16, 20)])
    return np.repeat(stacked[..., None], 3, axis=-1)


def raw_cells(scorer: Any, clips: npt.NDArray[np.uint8]) -> Floats:
    """The raw values of the cells; those of a fused detector are the sum of its members' decades."""
    if isinstance(scorer, FusedScorer):
        of_members = [memory_bank().measure(clips[:, -1:])[0], motion().measure(clips)[0]]
        return np.sum([RARITY.decades(cells) for cells in of_members], axis=0).astype(np.float32)
    cells: Floats = scorer.measure(clips)[0]
    return cells


FAMILIES = [motion, memory_bank, autoencoder, student_teacher, outlier, fused]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
class TestEachFamily:
    def test_the_score_is_that_of_the_cells_that_are_left(
        self, family: Callable[[], Any], clips: npt.NDArray[np.uint8]
    ) -> None:
        scorer = family()
        plain, cells = scorer.run(clips), raw_cells(scorer, clips)
        mask = np.zeros(cells.shape, np.uint8)
        mask[:2] = cells[:2] >= np.quantile(cells[:2], 0.9)  # the hottest places of the first two clips
        found = scorer.run({"CLIP": clips, "MASK": mask})
        for ordinal in range(3):
            left = np.sort(cells[ordinal][mask[ordinal] == 0])[-10:]
            expected = RARITY.scores(np.mean(left, dtype=np.float32))
            assert found["SCORE"][ordinal, 0] == np.float32(expected)
        assert (found["SCORE"][:2] < plain["SCORE"][:2]).all()
        assert found["SCORE"][2] == plain["SCORE"][2]
        np.testing.assert_array_equal(found["HEAT"], np.where(mask, 0, plain["HEAT"]))
        np.testing.assert_array_equal(found["FEATURES"], plain["FEATURES"])

    def test_cold_places_may_be_ignored_without_a_change_of_the_score(
        self, family: Callable[[], Any], clips: npt.NDArray[np.uint8]
    ) -> None:
        scorer = family()
        cells = raw_cells(scorer, clips)
        tenth = np.sort(cells.reshape(3, -1), axis=1)[:, -10].reshape(3, 1, 1)
        found = scorer.run({"CLIP": clips, "MASK": (cells < tenth).astype(np.uint8)})
        np.testing.assert_array_equal(found["SCORE"], scorer.run(clips)["SCORE"])

    def test_a_picture_that_is_ignored_altogether_scores_0(
        self, family: Callable[[], Any], clips: npt.NDArray[np.uint8]
    ) -> None:
        found = family().run({"CLIP": clips, "MASK": np.ones((3, ROWS, COLUMNS), np.uint8)})
        assert not found["SCORE"].any()
        assert not found["HEAT"].any()


@pytest.mark.parametrize("family", [memory_bank, outlier], ids=lambda family: family.__name__)
def test_a_part_is_judged_with_the_mask_after_the_common_step(
    family: Callable[[], Any], clips: npt.NDArray[np.uint8]
) -> None:
    scorer = family()
    mask = np.zeros((3, ROWS, COLUMNS), np.uint8)
    mask[:, :, COLUMNS // 2 :] = 1
    together, apart = scorer.run({"CLIP": clips, "MASK": mask}), scorer.judge(scorer.common(clips), mask)
    assert all(together[name].tobytes() == apart[name].tobytes() for name in together)


def test_pooled_features_have_no_places(clips: npt.NDArray[np.uint8]) -> None:
    scorer = PooledScorer(Cells(DESCRIPTORS=3), judge(pooled=True), RARITY, frames=1)
    with pytest.raises(ValueError, match="pooled features have no places to ignore"):
        scorer.run({"CLIP": clips, "MASK": np.zeros((3, ROWS, COLUMNS), np.uint8)})
