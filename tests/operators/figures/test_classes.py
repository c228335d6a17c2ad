"""Figures of a classifier against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from operators.figures.classes import confusion, estimate_classes

pictures = st.integers(2, 4).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(
            st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1), st.sampled_from("abcd")),
            min_size=1,
            max_size=30,
        ),
    )
)


@given(pictures)
def test_figures_are_those_of_scikit_learn(drawn: tuple[int, list[tuple[int, int, str]]]) -> None:
    classes, rows = drawn
    truth, predicted, groups = (list(column) for column in zip(*rows, strict=True))
    table = confusion(truth, predicted, classes)
    np.testing.assert_array_equal(table, confusion_matrix(truth, predicted, labels=range(classes)))
    found = estimate_classes(truth, predicted, groups, classes, draws=20)
    anomalies, called = np.array(truth) > 0, np.array(predicted) > 0
    assert found["accuracy"].value == pytest.approx(accuracy_score(truth, predicted))
    for name, score, counted in (("precision", precision_score, called), ("recall", recall_score, anomalies)):
        if counted.any():
            assert found[name].value == pytest.approx(score(anomalies, called))
        else:
            assert found[name].value is None
            assert name in found[name].reason


def test_groups_are_drawn_as_wholes() -> None:
    """A group that is all wrong, and one that is all right: each draw of two groups is 0, a half, or 1."""
    truth, groups = [0] * 10, ["a"] * 4 + ["b"] * 6
    predicted = [0] * 4 + [1] * 6
    found = estimate_classes(truth, predicted, groups, 2, draws=300)["accuracy"]
    assert found.value == pytest.approx(0.4)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)
    alone = estimate_classes(truth, predicted, list("0123456789"), 2, draws=300)["accuracy"]
    assert alone.interval is not None
    assert 0.0 < alone.interval.low < 0.4 < alone.interval.high < 1.0


@pytest.mark.parametrize(
    ("truth", "predicted", "complaint"),
    [([0, 1], [0], "as many predictions"), ([0, 2], [0, 1], "classes from 0 to 1"), ([], [], "at least one picture")],
)
def test_impossible_pictures(truth: list[int], predicted: list[int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        estimate_classes(truth, predicted, ["a"] * len(truth), 2)
