"""Platt's sigmoid: by hand where symmetry allows it, else by what defines the fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calibration.probability import NoProbabilityError, fit


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def test_two_scores_by_hand() -> None:
    """Two clips of either kind: their targets are 3/4 and 1/4, which the sigmoid can meet exactly."""
    found = fit([0.2, 0.2, 0.8, 0.8], [False, False, True, True])
    assert found.slope == pytest.approx(logit(0.75) / logit(0.8), rel=1e-4)
    assert found.shift == pytest.approx(0, abs=1e-4)
    assert found([0.2, 0.5, 0.8]) == pytest.approx([0.25, 0.5, 0.75], abs=1e-4)
    assert (found.clips, found.abnormal_clips) == (4, 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=8, max_size=60))
def test_the_fit_is_the_one_of_greatest_likelihood(clips: list[tuple[float, bool]]) -> None:
    """There, predictions and Platt's targets agree in their sum, and in their sum weighted by the logit."""
    scores, truth = np.array([score for score, _ in clips]), np.array([abnormal for _, abnormal in clips])
    positives = int(truth.sum())
    try:
        found = fit(scores, truth)
    except NoProbabilityError:
        return  # the other test's
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (len(clips) - positives + 2))
    off = found(scores) - target
    assert off.sum() == pytest.approx(0, abs=1e-3)
    assert (off * np.log(scores / (1 - scores))).sum() == pytest.approx(0, abs=1e-3)


def test_scores_that_are_probabilities_stay_what_they_are() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    found = fit(scores, rng.random(20_000) < scores)
    assert found.slope == pytest.approx(1, abs=0.05)
    assert found.shift == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("scores", "abnormal", "expected"),
    [
        ([0.1, 0.2], [False, False], "0 of 2 clips show an incident"),
        ([0.1, 0.2], [True, True], "2 of 2 clips show an incident"),
        ([0.9, 0.1], [False, True], "do not score higher"),
    ],
)
def test_what_has_no_probability_is_refused(scores: list[float], abnormal: list[bool], expected: str) -> None:
    with pytest.raises(NoProbabilityError, match=expected):
        fit(scores, abnormal)


@pytest.mark.parametrize(("scores", "abnormal"), [([0.1, 1.2], [False, True]), ([0.1], [False, True])])
def test_scores_that_are_none_are_refused(scores: list[float], abnormal: list[bool]) -> None:
    with pytest.raises(ValueError, match=r"expected a score in \[0, 1\] and a truth for each clip"):
        fit(scores, abnormal)
