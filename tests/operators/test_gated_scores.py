"""Gated clips in the chain: the held score, and alerts that neither begin nor end on it, in any order of arrival."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alerting import AlertSettings, AlertState, AlertTransition
from operators.chain import ChainSettings, ScoreChain
from operators.holding import ScoreHold
from operators.scores import ClipScore, GatedClip, Hole, SegmentEnd, SmoothedScore

ALERT = AlertSettings(open_threshold=0.5, close_threshold=0.4, update_every_seconds=3.0, cooldown_seconds=0.0)
GATED, DROPPED = "gated", "dropped"
Step = float | str  # a score, or what became of the clip instead


def gated(index: int, segment: str = "s") -> GatedClip:
    return GatedClip("cam", segment, index, float(index), index + 1.0)


def hand_in(chain: ScoreChain, index: int, step: Step, clip: Callable[..., ClipScore]) -> list[AlertTransition]:
    if step == DROPPED:
        return chain.drop("s", index)
    if step == GATED:
        return chain.gate(gated(index))
    return chain.score(clip(index, step))


def run(
    steps: list[Step],
    clip: Callable[..., ClipScore],
    *,
    order: list[int] | None = None,
    kernel: int = 1,
    max_hole: int = 2,
    alert: AlertSettings = ALERT,
) -> tuple[list[AlertTransition], list[SmoothedScore]]:
    """Return the transitions and smoothed scores of one segment, arriving in this order."""
    smoothed: list[SmoothedScore] = []
    chain = ScoreChain(
        "cam", ChainSettings(alert=alert, kernel=kernel, max_hole=max_hole), awaits_all=True, smoothed=smoothed.append
    )
    transitions = []
    for index in order or range(len(steps)):
        transitions += hand_in(chain, index, steps[index], clip)
    transitions += chain.end(SegmentEnd("cam", "s", len(steps), "stream_end"))
    return transitions, smoothed


def test_a_gated_clip_has_the_last_real_score_and_its_own_time(clip: Callable[..., ClipScore]) -> None:
    _, smoothed = run([0.25, GATED, GATED, 0.75, GATED], clip)
    assert [one.value for one in smoothed] == [0.25, 0.25, 0.25, 0.75, 0.75]
    assert [one.clip.gated for one in smoothed] == [False, True, True, False, True]
    assert [(one.clip.start, one.clip.end) for one in smoothed] == [(n, n + 1.0) for n in range(5)]


def test_the_average_does_not_count_gated_clips(clip: Callable[..., ClipScore]) -> None:
    _, smoothed = run([0.0, 0.75, GATED, GATED, 0.0, GATED, 1.0], clip, kernel=3)
    # The last: (0.75 + 0 + 1) / 3.
    assert [one.value for one in smoothed] == [0.0, 0.375, 0.375, 0.375, 0.25, 0.25, pytest.approx(1.75 / 3)]


def test_holding_a_high_score_does_not_switch_the_smoothing_off(clip: Callable[..., ClipScore]) -> None:
    """A glitch that is held for 59 clips weighs as one: (3 · 0.1 + 0.9 + 0.1) / 5 = 0.26."""
    alert = AlertSettings(open_threshold=0.6, close_threshold=0.5)
    transitions, smoothed = run([*[0.1] * 10, 0.9, *[GATED] * 59, 0.1], clip, kernel=5, alert=alert)
    assert transitions == []
    assert [one.value for one in smoothed[10:]] == pytest.approx([0.26] * 61)


def test_one_low_clip_of_the_floor_rate_does_not_end_an_alert(clip: Callable[..., ClipScore]) -> None:
    """(4 · 0.9 + 0.1) / 5 = 0.74, however long it is held."""
    alert = AlertSettings(open_threshold=0.6, close_threshold=0.5)
    steps: list[Step] = [*[0.9] * 10, *[GATED] * 59, 0.1, *[GATED] * 63, 0.9, *[GATED] * 20]
    transitions, _ = run(steps, clip, kernel=5, alert=alert)
    assert [one.state for one in transitions if one.state is not AlertState.UPDATE] == ["begin", "end"]
    assert transitions[-1].end_reason == "stream_end"


def test_a_gated_clip_is_no_hole(clip: Callable[..., ClipScore]) -> None:
    """Ten gated clips, more than max_hole, and the alert goes on."""
    transitions, _ = run([0.75, *[GATED] * 10, 0.25], clip)
    assert [one.end_reason for one in transitions if one.state is AlertState.END] == ["below_threshold"]
    assert transitions[-1].last.index == 11


def test_without_a_real_score_before_it_a_gated_clip_is_a_hole(clip: Callable[..., ClipScore]) -> None:
    _, smoothed = run([DROPPED, GATED, GATED, 0.25, GATED], clip)
    assert [one.clip.index for one in smoothed] == [3, 4]


def test_another_segment_begins_without_a_score(clip: Callable[..., ClipScore]) -> None:
    hold = ScoreHold(max_hole=2)
    hold.push(clip(0, 0.75))
    assert isinstance(hold.push(gated(1)), ClipScore)
    hold.push(SegmentEnd("cam", "s", 2, "disconnected"))
    assert hold.push(gated(0, "t")) == Hole("cam", "t", 0, 1)


def test_a_long_hole_ends_the_holding(clip: Callable[..., ClipScore]) -> None:
    """The average restarts there, and what was true before says nothing any more."""
    transitions, smoothed = run([0.75, DROPPED, DROPPED, DROPPED, GATED, GATED, 0.25, GATED], clip)
    assert [one.clip.index for one in smoothed] == [0, 6, 7]
    assert [one.end_reason for one in transitions if one.state is AlertState.END] == ["gap"]


def test_the_held_score_is_of_the_version_that_scored_last(clip: Callable[..., ClipScore]) -> None:
    hold = ScoreHold(max_hole=2)
    hold.push(clip(0, 0.75, version="1"))
    hold.push(clip(1, 0.25, version="2"))
    held = hold.push(gated(2))
    assert isinstance(held, ClipScore)
    assert (held.score, held.model_version) == (0.25, "2")


def test_somebody_who_lies_still_after_a_fall_stays_in_alert(clip: Callable[..., ClipScore]) -> None:
    """A fall, a hangover, and a minute of stillness of which one clip in sixteen is scored: one alert, still open."""
    still: list[Step] = [0.75 if n % 16 == 15 else GATED for n in range(100)]
    transitions, _ = run([0.0, 0.0, 1.0, 1.0, 0.875, 0.75, 0.75, *still], clip, kernel=5)
    assert [one.state for one in transitions if one.state is not AlertState.UPDATE] == ["begin", "end"]
    assert transitions[-1].end_reason == "stream_end"


def test_a_gated_clip_is_never_the_peak(clip: Callable[..., ClipScore]) -> None:
    """Its picture was not kept."""
    transitions, _ = run([0.5, 1.0, GATED, GATED, 0.0], clip)
    assert transitions[-1].peak.clip.index == 1


def test_an_alert_too_long_ends_on_a_gated_clip(clip: Callable[..., ClipScore]) -> None:
    """The gate does not end it: it would have ended there without. The next real clip may begin another."""
    alert = AlertSettings(open_threshold=0.5, close_threshold=0.4, max_duration_seconds=4.0, cooldown_seconds=0.0)
    transitions, _ = run([0.75, *[GATED] * 6, 0.75], clip, alert=alert)
    shown = [(one.state, one.last.index, one.end_reason) for one in transitions]
    assert shown == [("begin", 0, None), ("end", 3, "max_duration"), ("begin", 7, None), ("end", 7, "stream_end")]


def test_clips_without_a_score_are_counted_over_the_gated_ones_between(clip: Callable[..., ClipScore]) -> None:
    """The scorer is away and only clips of the floor rate are sent: the third in a row ends holding and alert."""
    away: list[Step] = [GATED, GATED, DROPPED] * 3
    transitions, smoothed = run([0.75, *away, GATED, GATED, 0.75, GATED], clip, kernel=3)
    assert [one.clip.index for one in smoothed] == [0, 1, 2, 4, 5, 7, 8, 12, 13]
    ends = [(one.last.index, one.end_reason) for one in transitions if one.state is AlertState.END]
    assert ends == [(8, "gap"), (13, "stream_end")]


def test_a_real_score_begins_the_count_anew(clip: Callable[..., ClipScore]) -> None:
    steps: list[Step] = [0.75, DROPPED, GATED, DROPPED, 0.75, DROPPED, GATED, DROPPED, GATED]
    transitions, smoothed = run(steps, clip)
    assert [one.clip.index for one in smoothed] == [0, 2, 4, 6, 8]
    assert [one.end_reason for one in transitions if one.state is AlertState.END] == ["stream_end"]


@pytest.mark.parametrize("between", [GATED, DROPPED])
def test_min_clips_are_real_ones(clip: Callable[..., ClipScore], between: str) -> None:
    alert = AlertSettings(open_threshold=0.5, close_threshold=0.4, min_clips=2)
    transitions, _ = run([0.75, between, between, 0.75, 0.0], clip, alert=alert)
    begin = transitions[0]
    assert (begin.state, begin.first.index, begin.last.index) == (AlertState.BEGIN, 0, 3)


STEPS = st.lists(
    st.one_of(st.integers(0, 16).map(lambda score: score / 16), st.sampled_from([GATED, GATED, DROPPED])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 5), st.integers(0, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_alerts_and_none_begins_or_ends_on_a_gated_clip(
    clip: Callable[..., ClipScore], steps: list[Step], kernel: int, max_hole: int, least: int, rng: random.Random
) -> None:
    alert = AlertSettings(open_threshold=0.5, close_threshold=0.4, min_clips=least, update_every_seconds=3.0)
    in_order = run(steps, clip, kernel=kernel, max_hole=max_hole, alert=alert)
    order = [*range(len(steps))]
    rng.shuffle(order)
    assert run(steps, clip, order=order, kernel=kernel, max_hole=max_hole, alert=alert) == in_order
    transitions, smoothed = in_order
    for one in transitions:
        assert not one.peak.clip.gated
        assert not one.first.gated
        if one.state is AlertState.BEGIN or one.end_reason == "below_threshold":
            assert not one.last.gated
    real = {index: step for index, step in enumerate(steps) if isinstance(step, float)}
    for one in smoothed:
        source = max(index for index in real if index <= one.clip.index)
        assert one.clip.score == real[source]
        assert one.clip.gated == (source != one.clip.index)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 5), st.integers(0, 4))
def test_the_real_clips_are_smoothed_as_if_there_were_no_gated_ones(
    clip: Callable[..., ClipScore], steps: list[Step], kernel: int, max_hole: int
) -> None:
    # Gated clips before the first score, and after a long hole, are holes and no part of this.
    steps = [0.5, *steps]
    taken_out = [step for step in steps if step != GATED]
    _, plain = run(taken_out, clip, kernel=kernel, max_hole=max_hole)
    _, smoothed = run(steps, clip, kernel=kernel, max_hole=max_hole)
    assert [one.value for one in smoothed if not one.clip.gated] == [one.value for one in plain]
    newest = 0.0
    for each in smoothed:
        newest = each.value if not each.clip.gated else newest
        assert each.value == newest


def test_gated_clips_do_not_declare_a_slow_score_missing(clip: Callable[..., ClipScore]) -> None:
    """They arrive at once, and the score of the clip before them takes as long as it takes."""
    chain = ScoreChain("cam", ChainSettings(alert=ALERT, kernel=1, max_hole=2))
    for index in range(1, 20):
        assert chain.gate(gated(index)) == []
    assert [one.state for one in chain.score(clip(0, 0.75))][:1] == ["begin"]
    assert (chain.holes, chain.late) == (0, 0)
