"""The threshold that keeps a budget: the bound against its definition, the search against the live operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alerting import AlertSettings, AlertState
from operators.chain import ChainSettings, ScoreChain
from operators.scores import ClipScore, SegmentEnd
from pipeline.calibration.search import (
    THRESHOLDS,
    Budget,
    FalseAlarm,
    NormalScores,
    UnsupportedBudgetError,
    alerts_allowed,
    calibrate,
    false_alarms,
    hours_needed,
    parse_budget,
    smoothed,
    upper_bound,
    with_threshold,
)


def operators(
    opens: float = 0.5, closes: float | None = None, *, kernel: int = 1, max_hole: int = 0, **alert: float
) -> ChainSettings:
    closes = opens if closes is None else closes
    chosen = AlertSettings(open_threshold=opens, close_threshold=closes, **{"cooldown_seconds": 0.0, **alert})
    return ChainSettings(alert=chosen, kernel=kernel, max_hole=max_hole)


def piece(scores: Sequence[float], seconds: float = 36.0, *, index: Sequence[int] | None = None) -> NormalScores:
    """Clips of 36 s: a hundred an hour."""
    places = np.arange(len(scores)) if index is None else np.array(index)
    return NormalScores("gate", places, places * seconds, (places + 1) * seconds, np.array(scores, dtype=np.float64))


def test_no_false_alarm_begins_or_ends_on_a_gated_clip() -> None:
    """By hand: clips 1 and 2 would begin one, and clip 5 would end one; all three were gated."""
    scores = [0.25, 0.75, 0.75, 0.25, 0.75, 0.25, 0.75, 0.25]
    gated = np.array([False, True, True, False, False, True, False, False])
    footage = [replace(piece(scores), gated=gated)]
    (alarm,) = false_alarms(smoothed(footage, operators()), operators())
    assert (alarm.opened, alarm.ended) == (5 * 36.0, 8 * 36.0)
    assert len(list(false_alarms(smoothed([piece(scores)], operators()), operators()))) == 3


# -- the bound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alerts", "confidence", "mean"),
    # One-sided upper limits of a Poisson mean, N. Gehrels, Astrophysical Journal 303, 1986, table 1.
    [(0, 0.95, 2.996), (1, 0.95, 4.744), (2, 0.95, 6.296), (5, 0.95, 10.51), (10, 0.95, 16.96), (1, 0.99, 6.638)],
)
def test_the_bound_is_that_of_the_published_table(alerts: int, confidence: float, mean: float) -> None:
    assert upper_bound(alerts, confidence=confidence) == pytest.approx(mean, abs=0.005)


@given(st.integers(0, 60), st.floats(0.5, 0.999))
def test_the_bound_is_the_mean_that_leaves_so_few_alerts_just_possible(alerts: int, confidence: float) -> None:
    mean = upper_bound(alerts, confidence=confidence)
    at_most = math.fsum(mean**n * math.exp(-mean) / math.factorial(n) for n in range(alerts + 1))
    assert at_most == pytest.approx(1 - confidence, rel=1e-6)


def test_what_a_budget_takes() -> None:
    budget = parse_budget("1/day")
    assert hours_needed(budget) == pytest.approx(24 * -math.log(0.05))  # no false alarm: exp(−mean) = 0.05
    assert alerts_allowed(71.8, budget) is None
    assert alerts_allowed(71.9, budget) == 0
    assert alerts_allowed(24 * 4.7438, budget) == 0
    assert alerts_allowed(24 * 4.7440, budget) == 1


@given(st.floats(0.01, 500), st.floats(0.5, 0.99))
def test_as_many_are_allowed_as_the_bound_leaves(hours: float, confidence: float) -> None:
    budget = Budget("1/hour", 1.0)
    allowed = alerts_allowed(hours, budget, confidence=confidence)
    beyond = 0 if allowed is None else allowed + 1
    assert hours_needed(budget, alerts=beyond, confidence=confidence) > hours
    assert allowed is None or hours_needed(budget, alerts=allowed, confidence=confidence) <= hours


def test_the_largest_budget_of_a_year_is_counted_at_once() -> None:
    """One by one it would be counted for minutes."""
    budget = parse_budget("3600/hour")
    allowed = alerts_allowed(8760, budget)
    assert allowed is not None
    assert hours_needed(budget, alerts=allowed) <= 8760 < hours_needed(budget, alerts=allowed + 1)


@pytest.mark.parametrize(
    ("text", "per_hour"),
    [("1/day", 1 / 24), ("2/hour", 2.0), ("0.5 / week", 0.5 / 168), ("1/12hours", 1 / 12), ("3/2days", 1 / 16)],
)
def test_a_budget_is_read(text: str, per_hour: float) -> None:
    assert parse_budget(text).per_hour == pytest.approx(per_hour)


@pytest.mark.parametrize("text", ["", "1", "1/month", "-1/day", "one/day", "1/day!", "nan/day"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected false alarms over time, such as 1/day"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["3601/hour", "1/0.0001hours", "9" * 400 + "/week"])
def test_a_budget_of_more_than_one_a_second_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected at most one false alarm a second"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0/day", "1/0days", "1/" + "9" * 400 + "days"])
def test_a_budget_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        parse_budget(text)


# -- the count is that of the operators that run live ----------------------------------------------------------------

unit = st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0])


@st.composite
def segments(draw: st.DrawFn) -> NormalScores:
    index = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=30)))  # with holes
    return piece(draw(st.lists(unit, min_size=len(index), max_size=len(index))), 1.0, index=index)


@settings(max_examples=200)
@given(
    st.lists(segments(), min_size=1, max_size=3),
    st.tuples(unit.filter(bool), unit.filter(bool)).map(lambda pair: (max(pair), min(pair))),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from([0.0, 2.0, 7.0]),
    st.sampled_from([3.0, 600.0]),
)
def test_the_alerts_are_those_that_the_chain_raises(
    footage: list[NormalScores],
    thresholds: tuple[float, float],
    kernel: int,
    max_hole: int,
    min_clips: int,
    cooldown: float,
    longest: float,
) -> None:
    chosen = operators(
        *thresholds,
        kernel=kernel,
        max_hole=max_hole,
        min_clips=min_clips,
        cooldown_seconds=cooldown,
        max_duration_seconds=longest,
    )
    expected = []
    for number, each in enumerate(footage):
        chain = ScoreChain("gate", chosen)
        transitions = []
        scored = dict(zip(each.index.tolist(), each.score.tolist(), strict=True))
        for index in range(max(scored) + 1):
            if index in scored:
                clip = ClipScore("gate", f"s{number}", index, index, index + 1.0, scored[index], "m", "1")
                transitions += chain.score(clip)
            else:
                transitions += chain.drop(f"s{number}", index)
        transitions += chain.end(SegmentEnd("gate", f"s{number}", int(each.index[-1]) + 1, "stream_end"))
        opened = [one.last.end for one in transitions if one.state is AlertState.BEGIN]
        ends = [one for one in transitions if one.state is AlertState.END]
        expected += [
            FalseAlarm("gate", begin, end.last.end, end.peak.value) for begin, end in zip(opened, ends, strict=True)
        ]
    assert list(false_alarms(smoothed(footage, chosen), chosen)) == expected


# -- the search ------------------------------------------------------------------------------------------------------

#: In 100 h: at most 1 false alarm, as 4.744 / 100 keeps it and 6.296 / 100 does not.
BUDGET = Budget("5/100 h", 0.05)


def hundred_hours(*peaks: float) -> NormalScores:
    scores = np.full(10_000, 0.1)
    scores[100 : 100 + 50 * len(peaks) : 50] = peaks
    return piece(scores.tolist())


def test_the_lowest_threshold_within_the_budget() -> None:
    found = calibrate([hundred_hours(0.9, 0.7, 0.65)], operators(0.5, 0.4), BUDGET)
    assert found.hours == pytest.approx(100)
    assert found.allowed == 1
    assert found.settings.alert.open_threshold == 0.701  # 0.700 would be reached by two
    assert found.settings.alert.close_threshold == pytest.approx(0.701 * 0.8, abs=1e-4)
    assert [(alarm.opened, alarm.peak) for alarm in found.false_alarms] == [(101 * 36.0, 0.9)]
    assert found.at_most_per_hour == pytest.approx(0.04744, abs=1e-5)
    assert found.bursts == 1


def test_what_is_found_is_written_with_the_same_operators_but_the_thresholds() -> None:
    chosen = operators(0.5, 0.4, kernel=3, max_hole=8, min_clips=2, cooldown_seconds=2.0)
    found = calibrate([hundred_hours(0.9)], chosen, BUDGET)
    thresholds = replace(chosen.alert, open_threshold=0.101, close_threshold=0.1001)  # the one alarm is allowed
    assert found.settings == replace(chosen, alert=thresholds)


@pytest.mark.parametrize(
    ("level", "closes"),
    [(0.30, 0.64), (0.64, 0.6401), (0.7, 0.7001), (0.95, 0.8)],
    ids=["in proportion", "not where normal clips lie", "just above them", "at most where it opens"],
)
def test_an_alert_closes_above_where_normal_clips_lie(level: float, closes: float) -> None:
    chosen = with_threshold(operators(0.5, 0.4), 0.8, level)
    assert (chosen.alert.open_threshold, chosen.alert.close_threshold) == (0.8, closes)


def test_an_alert_ends_with_what_it_is_about_also_where_the_threshold_is_low() -> None:
    """All of the quiet footage is at 0.1; four fifths of 0.101 would be below it, and no alert would ever end."""
    found = calibrate([hundred_hours()], operators(0.5, 0.4), BUDGET)
    assert found.settings.alert.open_threshold == 0.101
    (alarm,) = false_alarms(smoothed([hundred_hours(0.5)], found.settings), found.settings)
    assert (alarm.opened, alarm.ended) == (101 * 36.0, 102 * 36.0)


def test_a_threshold_below_one_that_fails_is_never_taken_though_it_would_pass() -> None:
    """At 0.6 everything is one long alert: fewer than at 0.7, but the search has ended there."""
    scores = np.full(10_000, 0.1)
    scores[100:116] = np.tile([0.9, 0.55], 8)
    footage = [piece(scores.tolist())]
    at = {
        opens: len(list(false_alarms(smoothed(footage, operators()), operators(opens, 0.8 * opens))))
        for opens in (0.95, 0.7, 0.6)
    }
    assert at == {0.95: 0, 0.7: 8, 0.6: 1}
    found = calibrate(footage, operators(0.5, 0.4), BUDGET, thresholds=(0.95, 0.7, 0.6))
    assert found.settings.alert.open_threshold == 0.95


def test_thresholds_are_fine_where_scores_crowd_near_one() -> None:
    found = calibrate([hundred_hours(0.9993, 0.9991, 0.9990)], operators(0.5, 0.4), BUDGET)
    assert found.settings.alert.open_threshold == 0.9992
    assert THRESHOLDS[0] == 1.0
    assert THRESHOLDS[-1] == 0.001


def test_footage_that_is_too_short_is_refused_with_the_hours_that_it_would_take() -> None:
    footage = [piece([0.1] * 1200)]  # 12 h
    with pytest.raises(UnsupportedBudgetError) as caught:
        calibrate(footage, operators(), parse_budget("1/day"))
    said = str(caught.value)
    assert "12.0 h of normal footage cannot support a budget of 1/day at 95 % confidence" in said
    assert "it takes 71.9 h without a false alarm, or 113.9 h with one" in said
    assert "these support 5.99/day at best" in said


def test_scores_that_crowd_at_one_are_refused() -> None:
    with pytest.raises(UnsupportedBudgetError, match=r"1 false alarm in 100\.0 h would keep .* at a threshold of 1 "):
        calibrate([hundred_hours(1.0, 1.0)], operators(), BUDGET)


@pytest.mark.parametrize(
    ("second", "bursts"),
    # An alert ends with the first clip below its threshold and opens with the end of one that reaches it, so the first
    # is over at 102 · 36 s.
    [(102, 2), (104, 3)],
    ids=["36 s later: of the same burst", "108 s later: by itself"],
)
def test_alerts_close_to_one_another_are_a_burst(second: int, bursts: int) -> None:
    scores = np.full(10_000, 0.1)
    scores[[100, second, 500]] = 0.9
    found = calibrate([piece(scores.tolist())], operators(), Budget("three in 100 h", 0.08))
    assert len(found.false_alarms) == 3
    assert found.bursts == bursts


def test_alerts_before_and_after_the_clock_jumped_back_are_no_burst() -> None:
    """The second segment of the recording begins at 0 again: its alert is not known to be close to the first one's."""
    scores = np.full(5_000, 0.1)
    late, early = scores.copy(), scores.copy()
    late[4000] = early[100] = 0.9
    found = calibrate([piece(late.tolist()), piece(early.tolist())], operators(), Budget("two in 100 h", 0.065))
    assert len(found.false_alarms) == 2
    assert found.bursts == 2


def test_the_promise_holds_as_often_as_it_says() -> None:
    """The true rate is known: 50 clips an hour are a spike with a chance of 0.1, of a height even in [0, 1].

    A spike every other clip is an alert of its own, so at a threshold t there are 5 (1 − t) an hour: a threshold below
    0.8 breaks the budget of 1/hour. In 20 h twelve are allowed, where the rate is 1/hour as many as that or fewer come
    in 3.9 % of the cases.
    """
    rng = np.random.default_rng(5)
    broken = []
    steps = tuple(step / 100 for step in range(99, 0, -1))
    for _ in range(200):
        scores = np.zeros(2000)
        spikes = rng.random(1000) < 0.1
        scores[::2] = np.where(spikes, rng.random(1000), 0.0)
        found = calibrate([piece(scores.tolist())], operators(), parse_budget("1/hour"), thresholds=steps)
        assert found.allowed == 12
        broken.append(found.settings.alert.open_threshold < 0.8)
    assert 1 <= sum(broken) <= 19  # 5 % of 200 and three standard deviations


def test_the_promise_holds_where_the_footage_decides_when_alerts_close() -> None:
    """The closing threshold, and so the sequence that is tested, is not fixed before: it is another one in each draw.

    As in the test before, with noise up to 0.6 in all clips without a spike, and alerts that would close at half of
    where they open, within the noise. Nearly all normal clips are below about 0.58, and that is where they close: one
    quiet clip in thirty is above, which joins an alert in a thousand or so to the next, so that the rate is 5 (1 - t)
    an hour to within a hundredth, and the budget of 1/hour is broken below 0.8 as before.
    """
    rng = np.random.default_rng(6)
    broken, closes = [], []
    steps = tuple(step / 100 for step in range(99, 0, -1))
    for _ in range(200):
        scores = rng.random(2000) * 0.6
        spikes = rng.random(1000) < 0.1
        scores[::2] = np.where(spikes, rng.random(1000), scores[::2])
        found = calibrate([piece(scores.tolist())], operators(0.5, 0.25), parse_budget("1/hour"), thresholds=steps)
        broken.append(found.settings.alert.open_threshold < 0.8)
        closes.append(found.settings.alert.close_threshold)
    assert np.ptp(closes) > 0.01
    assert 0.55 < min(closes) < max(closes) < 0.6
    assert 1 <= sum(broken) <= 19


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        calibrate([piece([0.1])], operators(), parse_budget("1/day"), confidence=confidence)


def test_thresholds_must_fall() -> None:
    with pytest.raises(ValueError, match="must fall"):
        calibrate([piece([0.1])], operators(), parse_budget("1/day"), thresholds=(0.5, 0.6))
