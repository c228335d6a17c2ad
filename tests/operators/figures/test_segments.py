"""Figures of segments: by hand, against scikit-learn, and against a count pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score, recall_score

from operators.figures.segments import (
    AMBIGUOUS,
    VOID,
    SegmentCounts,
    count_segments,
    fold_counts,
    segment_figures,
)

CLASSES = 4
PIXELS = st.lists(
    st.tuples(st.integers(AMBIGUOUS, CLASSES - 1), st.integers(AMBIGUOUS, CLASSES - 1)), min_size=1, max_size=60
)
#: Coarser classes of CLASSES classes: two of them, or none.
GROUPS = st.lists(st.integers(VOID, 1), min_size=CLASSES, max_size=CLASSES)


def counted(pixels: list[tuple[int, int]], classes: int = CLASSES) -> SegmentCounts:
    truth, given_ = zip(*pixels, strict=True)
    return count_segments(np.array(truth), np.array(given_), classes)


def by_pixel(pixels: list[tuple[int, int]]) -> tuple[list[float], list[float], int, int]:
    """Accuracy and IoU of each class, void and ambiguous pixels, without a table."""
    ambiguous = sum(AMBIGUOUS in pixel for pixel in pixels)
    clear = [pixel for pixel in pixels if AMBIGUOUS not in pixel]
    judged = [(own, one) for own, one in clear if own != VOID]
    accuracy, iou = [], []
    for c in range(CLASSES):
        own = {i for i, pixel in enumerate(judged) if pixel[0] == c}
        one = {i for i, pixel in enumerate(judged) if pixel[1] == c}
        accuracy.append(len(own & one) / len(own) if own else math.nan)
        iou.append(len(own & one) / len(own | one) if own | one else math.nan)
    return accuracy, iou, len(clear) - len(judged), ambiguous


def same(counts: SegmentCounts, others: SegmentCounts) -> bool:
    return (
        counts.table.tolist() == others.table.tolist()
        and counts.void == others.void
        and counts.ambiguous == others.ambiguous
    )


def test_figures_by_hand() -> None:
    # Class 0: 2 of 3 right, and 1 pixel of class 1 given it. Class 1: 1 of 3 right. Class 2: absent, but given once.
    counts = counted([(0, 0), (0, 0), (0, 2), (1, 1), (1, 0), (1, VOID), (VOID, 1), (0, AMBIGUOUS), (AMBIGUOUS, 1)])
    figures = segment_figures(counts)
    assert figures.accuracy == pytest.approx([2 / 3, 1 / 3, math.nan, math.nan], nan_ok=True)
    assert figures.iou == pytest.approx([2 / 4, 1 / 3, 0, math.nan], nan_ok=True)
    assert figures.mean_accuracy == pytest.approx(1 / 2)
    assert figures.mean_iou == pytest.approx((2 / 4 + 1 / 3 + 0) / 3)
    assert (counts.void, counts.ambiguous) == (1, 2)
    assert figures.only([1]).mean_iou == pytest.approx(1 / 3)


@given(PIXELS)
def test_figures_equal_a_count_by_pixel(pixels: list[tuple[int, int]]) -> None:
    counts = counted(pixels)
    figures = segment_figures(counts)
    accuracy, iou, void, ambiguous = by_pixel(pixels)
    assert figures.accuracy == pytest.approx(accuracy, nan_ok=True)
    assert figures.iou == pytest.approx(iou, nan_ok=True)
    assert (counts.void, counts.ambiguous) == (void, ambiguous)
    assert counts.table.sum() + counts.void + counts.ambiguous == len(pixels)


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, 5, (2, 40, 50))
    figures = segment_figures(count_segments(truth, guess, 5))
    assert figures.accuracy == pytest.approx(recall_score(truth.ravel(), guess.ravel(), average=None))
    assert figures.iou == pytest.approx(jaccard_score(truth.ravel(), guess.ravel(), average=None))
    assert figures.mean_iou == pytest.approx(jaccard_score(truth.ravel(), guess.ravel(), average="macro"))


@given(PIXELS, PIXELS)
def test_counts_of_pictures_add_up(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    assert same(counted(first) + counted(second), counted(first + second))


@given(PIXELS, GROUPS)
def test_folded_counts_are_those_of_folded_pixels(pixels: list[tuple[int, int]], groups: list[int]) -> None:
    def coarse(value: int) -> int:
        return value if value < 0 else groups[value]

    folded = counted([(coarse(own), coarse(one)) for own, one in pixels], 2)
    assert same(fold_counts(counted(pixels), groups, 2), folded)


@given(PIXELS)
def test_iou_is_never_above_accuracy(pixels: list[tuple[int, int]]) -> None:
    figures = segment_figures(counted(pixels))
    there = ~np.isnan(figures.accuracy)
    assert (figures.iou[there] <= figures.accuracy[there]).all()


@given(st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=40))
def test_the_truth_itself_is_perfect(values: list[int]) -> None:
    figures = segment_figures(counted([(value, value) for value in values]))
    assert (figures.mean_accuracy, figures.mean_iou) == (1, 1)


def test_without_pixels_nothing_is_defined() -> None:
    figures = segment_figures(count_segments(np.zeros((0,), np.int64), np.zeros((0,), np.int64), 2))
    assert np.isnan(figures.accuracy).all()
    assert math.isnan(figures.mean_iou)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64])
def test_any_integers_will_do(kind: type) -> None:
    counts = count_segments(np.array([0, 100, 100], kind), np.array([0, 100, 0], kind), 101)
    assert counts.table[100, [0, 100]].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        (np.zeros((2, 2), int), np.zeros(4, int), r"expected a given class for each pixel, got \(4,\) for \(2, 2\)"),
        (
            np.array([2]),
            np.array([0]),
            "from 0 to 1, -1 for none or -2 for ambiguous, got values from 2",
        ),
        (np.array([0]), np.array([-3]), "got values from -3 to -3"),
        (np.array([0.0]), np.array([0]), "classes must be integers, got float64"),
    ],
)
def test_unusable_pixels_are_refused(truth: np.ndarray, guess: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_segments(truth, guess, 2)


@pytest.mark.parametrize(
    ("groups", "message"), [([0], "a coarser class for each of 2 classes"), ([0, 1], "coarser classes from 0 to 0")]
)
def test_unusable_groups_are_refused(groups: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fold_counts(counted([(0, 1)], 2), groups, 1)
