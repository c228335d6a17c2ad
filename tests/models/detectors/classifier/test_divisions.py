"""Labelled pictures are divided by group, and each part has all classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.classifier.divisions import folds_of, validation_of
from models.jobs.errors import TrainingError

#: A class and a group for each picture; a group has one class, and each class has three groups or more.
labelled = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=40).map(
    lambda drawn: [(own, f"{own}/{group}") for own, group in [*drawn, *((c, g) for c in range(3) for g in range(3))]]
)


@given(labelled, st.integers(2, 6), st.integers(0, 3))
def test_folds_hold_each_picture_once_and_divide_no_group(
    pictures: list[tuple[int, str]], folds: int, seed: int
) -> None:
    truth, groups = np.array([own for own, _ in pictures]), [group for _, group in pictures]
    found = folds_of(truth, groups, folds, seed)
    assert sorted(at for fold in found for at in fold) == list(range(len(pictures)))
    assert 2 <= len(found) <= folds
    for fold in found:
        assert not {groups[at] for at in fold} & {groups[at] for at in range(len(truth)) if at not in fold}
        assert set(truth[fold]) == set(np.delete(truth, fold)) == {0, 1, 2}
    assert found == folds_of(truth, groups, folds, seed)


def test_a_validation_of_about_the_share() -> None:
    truth, groups = np.repeat([0, 1], 50), [str(at) for at in range(100)]
    learned, validation = validation_of(truth, groups, 0.2, 0)
    assert sorted(learned + validation) == list(range(100))
    assert len(validation) == 20
    assert truth[validation].sum() == 10


def test_films_with_both_classes_leave_each_fold_a_validation() -> None:
    """Both mixed films may not be in one fold, and each rest must be divisible again."""
    numbers = [(0, 40), (40, 0), (1, 40), (40, 5)]  # of normal and of abnormal frames of each film
    truth = np.concatenate([np.repeat([0, 1], pair) for pair in numbers])
    groups = [str(film) for film, pair in enumerate(numbers) for _ in range(sum(pair))]
    found = folds_of(truth, groups, 5, 0, validation=0.2)
    assert 2 <= len(found) <= 3
    for fold in found:
        rest = np.setdiff1d(np.arange(len(truth)), fold)
        validation_of(truth[rest], [groups[at] for at in rest], 0.2, 0)


def test_groups_that_cannot_be_divided() -> None:
    with pytest.raises(TrainingError, match="cannot be divided so that each part has pictures of all 2 classes"):
        folds_of(np.array([0, 0, 1, 1]), ["a", "a", "b", "c"], 2, 0)
