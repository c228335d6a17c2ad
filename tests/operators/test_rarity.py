"""The map from raw values to scores: against SciPy's distributions, and what must hold for any values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from operators.rarity import Rarity, fit_rarity, score_of

VALUES = arrays(np.float64, st.integers(20, 300), elements=st.floats(-1e3, 1e3, width=32))


def test_a_score_is_the_rarity_in_decades() -> None:
    """d / (d + 3) by hand: 1 decade 1/4, 3 decades 1/2, 6 decades 2/3."""
    assert [score_of(share) for share in (1, 0.1, 1e-3, 1e-6)] == pytest.approx([0, 0.25, 0.5, 2 / 3])


def test_the_tail_of_an_exponential_is_its_survival_function() -> None:
    """Exact quantiles of an exponential: the fitted tail is the distribution itself, far beyond every value."""
    law = stats.expon(loc=2, scale=0.7)
    rarity = fit_rarity(law.ppf((np.arange(20_000) + 0.5) / 20_000), least_scale=0.1)
    values = np.array([2.1, 2.5, 3.0, 4.0, 6.0, 9.0, 15.0])
    np.testing.assert_allclose(rarity.decades(values), -law.logsf(values) / np.log(10), rtol=0.01)


def test_the_body_is_the_empirical_distribution() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=5000)
    rarity = fit_rarity(values, least_scale=0.1)
    at = np.quantile(values, [0.05, 0.3, 0.5, 0.8, 0.89])
    reached = 1 - stats.ecdf(values).cdf.evaluate(at)
    np.testing.assert_allclose(rarity.decades(at), -np.log10(reached), atol=0.01)


def test_one_score_means_one_rarity_at_two_cameras() -> None:
    """A camera whose raw values are three times as large and shifted has the same scores."""
    values = np.random.default_rng(4).gamma(2.0, size=2000)
    one, other = fit_rarity(values, least_scale=0.1), fit_rarity(3 * values - 7, least_scale=0.3)
    at = np.linspace(0, 60, 50)
    np.testing.assert_allclose(one.scores(at), other.scores(3 * at - 7), atol=1e-9)


def test_a_few_incidents_among_the_footage_change_the_far_tail_little() -> None:
    values = np.random.default_rng(5).exponential(size=5000)
    contaminated = np.concatenate([values[:4900], np.full(100, 40.0)])  # 2 %
    clean, dirty = fit_rarity(values, least_scale=0.1), fit_rarity(contaminated, least_scale=0.1)
    assert dirty.scale / clean.scale < 1.4
    mean_excess = np.mean(contaminated[contaminated > dirty.levels[-1]] - dirty.levels[-1])
    assert mean_excess / clean.scale > 5  # what the mean would have made of it


@given(VALUES, st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=30))
def test_scores_never_fall_and_stay_in_their_range(values: np.ndarray, at: list[float]) -> None:
    rarity = fit_rarity(values, least_scale=0.1)
    scores = rarity.scores(np.sort(at))
    assert (np.diff(scores) >= -1e-12).all()  # rounding
    assert ((scores >= 0) & (scores < 1)).all()


@given(VALUES)
def test_it_is_continuous_where_the_tail_begins(values: np.ndarray) -> None:
    rarity = fit_rarity(values, least_scale=0.1)
    at = rarity.levels[-1]
    around = rarity.scores([np.nextafter(at, -np.inf), at, np.nextafter(at, np.inf)])
    assert around[1] == pytest.approx(0.25)
    assert np.ptp(around) < 1e-3


@given(VALUES)
def test_beyond_every_value_scores_still_rise(values: np.ndarray) -> None:
    rarity = fit_rarity(values, least_scale=0.1)
    most = values.max() + rarity.scale * np.arange(1, 40)
    assert (np.diff(rarity.scores(most)) > 0).all()


def test_footage_in_which_nothing_happens_has_the_least_tail() -> None:
    rarity = fit_rarity(np.full(100, 2.0), least_scale=0.5)
    # All values reach 2. The tail begins at 2.5 with one in ten, and a further decade takes 0.5 · ln 10.
    np.testing.assert_allclose(rarity.decades([2.0, 2.5, 2.5 + 0.5 * np.log(10)]), [0, 1, 2], atol=1e-11)


def test_a_value_that_all_others_reach_scores_nothing() -> None:
    """Half of the values are equal and the least ones: the share that reaches them is 1."""
    rarity = fit_rarity([0.0] * 50 + list(np.linspace(1, 2, 50)), least_scale=0.1)
    assert rarity.scores(0.0) == pytest.approx(0, abs=1e-12)


@given(VALUES)
def test_values_below_all_normal_ones_keep_their_order_and_score_nothing(values: np.ndarray) -> None:
    """As float32, in which heat is served: maps of cells lie there for the most part."""
    rarity = fit_rarity(values, least_scale=0.1)
    lower = rarity.levels[0] - rarity.scale * np.geomspace(1000, 0.01, 40)
    scores = rarity.scores(lower).astype(np.float32)
    assert (np.diff(scores) > 0).all()
    assert ((scores > 0) & (scores < 1e-12)).all()


@pytest.mark.parametrize(("equal", "decades"), [(16, np.log10(5)), (46, np.log10(2)), (96, 0.0)])
def test_a_value_that_many_equal_scores_its_own_rarity(equal: int, decades: float) -> None:
    """Of 100 values, 4 are above 7 and 16, 46 or 96 equal it, so a fifth, a half or all of them reach it."""
    values = np.concatenate([np.linspace(0, 6, 96 - equal), np.full(equal, 7.0), [8, 9, 10, 11]])
    rarity = fit_rarity(values, least_scale=0.1)
    assert rarity.decades(7.0) == pytest.approx(decades)
    assert rarity.decades(7.1) == pytest.approx(1)  # 4 of 100 are beyond, which is rarer than one in ten
    assert rarity.decades(8.0) > 1


@given(arrays(np.float64, st.integers(20, 200), elements=st.integers(0, 6).map(float)))
def test_no_value_that_more_than_a_tenth_equal_scores_above_its_rarity(values: np.ndarray) -> None:
    rarity = fit_rarity(values, least_scale=0.1)
    for value in np.unique(values):
        if (values == value).mean() > 0.1:
            assert rarity.scores(value) <= score_of((values >= value).mean()) + 1e-12


@pytest.mark.parametrize("values", [np.arange(19.0), [1.0, np.nan] * 20, np.ones((5, 5))])
def test_too_few_or_no_numbers_are_refused(values: object) -> None:
    with pytest.raises(ValueError, match="expected at least 20 finite values"):
        fit_rarity(values, least_scale=0.1)


@pytest.mark.parametrize(
    ("levels", "shares", "scale", "message"),
    [
        ([1.0, 2.0], [0.9], 1.0, "a share for each level"),
        ([2.0, 2.0], [0.0, 0.9], 1.0, "rise from one to the next"),
        ([1.0, 2.0], [0.0, 0.8], 1.0, "shares must end at 0.9"),
        ([1.0, 2.0], [0.0, 0.9], 0.0, "scale must be a number above 0, got 0.0"),
    ],
)
def test_a_map_that_cannot_be_is_refused(levels: list[float], shares: list[float], scale: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rarity(np.array(levels), np.array(shares), scale)


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_a_share_must_be_one(share: float) -> None:
    with pytest.raises(ValueError, match="a share must be above 0"):
        score_of(share)
