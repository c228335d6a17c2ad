"""The alert state machine, transition by transition. A clip lasts one second, one a second, unless said otherwise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from operators.alerting import AlertMachine, AlertSettings, AlertState, AlertTransition
from operators.scores import ClipKey, ClipScore, Hole, SegmentEnd, SmoothedScore

Smoothed = Callable[..., SmoothedScore]
BEGIN, UPDATE, END = AlertState.BEGIN, AlertState.UPDATE, AlertState.END


def machine(max_hole: int = 2, **changes: Any) -> AlertMachine:
    """Opens at 0.6, closes below 0.4, two clips; updates, cooldown and longest duration out of the way."""
    settings: dict[str, Any] = {
        "open_threshold": 0.6,
        "close_threshold": 0.4,
        "min_clips": 2,
        "update_every_seconds": 1000.0,
        "cooldown_seconds": 0.0,
        "max_duration_seconds": 1000.0,
    }
    return AlertMachine("cam", AlertSettings(**(settings | changes)), max_hole=max_hole)


def shape(transition: AlertTransition) -> tuple[str, int, int, int, int, list[int], str | None]:
    """(state, sequence, first clip, last clip, peak clip, clips of the scores, reason of the end)."""
    t = transition
    scored = [s.clip.index for s in t.scores]
    return (t.state.value, t.sequence, t.first.index, t.last.index, t.peak.clip.index, scored, t.end_reason)


def feed(m: AlertMachine, smoothed: Smoothed, *values: float, start: int = 0, **where: str) -> list[Any]:
    """Push the values as consecutive clips; return what came of each as (clip, shape) pairs."""
    out = []
    for index, value in enumerate(values, start):
        out += [(index, shape(t)) for t in m.push(smoothed(index, value, **where))]
    return out


def end(clips: int, reason: str = "disconnected", segment: str = "s") -> SegmentEnd:
    return SegmentEnd("cam", segment, clips, reason)


# ---- quiet and rising ----


def test_quiet_stays_quiet_below_the_open_threshold(smoothed: Smoothed) -> None:
    m = machine()
    assert feed(m, smoothed, 0.0, 0.59, 0.599, 0.4) == []
    assert m.retained == frozenset()


def test_min_clips_at_the_threshold_begin_an_alert_at_the_first_of_them(smoothed: Smoothed) -> None:
    assert feed(machine(), smoothed, 0.1, 0.6, 0.6) == [(2, ("begin", 0, 1, 2, 1, [1, 2], None))]


def test_a_begin_carries_everything_it_says(smoothed: Smoothed) -> None:
    m = machine()
    m.push(smoothed(3, 0.7))
    assert m.push(smoothed(4, 0.9)) == [
        AlertTransition(
            state=BEGIN,
            camera="cam",
            segment="s",
            sequence=0,
            first=smoothed(3, 0.7).clip,
            last=smoothed(4, 0.9).clip,
            peak=smoothed(4, 0.9),
            threshold=0.6,
            scores=(smoothed(3, 0.7), smoothed(4, 0.9)),
            end_reason=None,
        )
    ]


def test_a_row_that_breaks_off_is_forgotten(smoothed: Smoothed) -> None:
    m = machine(min_clips=3)
    assert feed(m, smoothed, 0.9, 0.9, 0.5) == []
    assert m.retained == frozenset()
    assert feed(m, smoothed, 0.7, 0.7, 0.7, start=3) == [(5, ("begin", 0, 3, 5, 3, [3, 4, 5], None))]


def test_with_min_clips_one_the_first_clip_begins(smoothed: Smoothed) -> None:
    assert feed(machine(min_clips=1), smoothed, 0.5, 0.6) == [(1, ("begin", 0, 1, 1, 1, [1], None))]


def test_a_short_hole_does_not_break_the_row(smoothed: Smoothed) -> None:
    m = machine(max_hole=2)
    m.push(smoothed(0, 0.7))
    assert m.push(Hole("cam", "s", 1, 2)) == []
    assert [shape(t) for t in m.push(smoothed(3, 0.7))] == [("begin", 0, 0, 3, 0, [0, 3], None)]


def test_a_long_hole_breaks_the_row(smoothed: Smoothed) -> None:
    m = machine(max_hole=2)
    m.push(smoothed(0, 0.7))
    m.push(Hole("cam", "s", 1, 2))
    assert m.push(Hole("cam", "s", 3, 1)) == []  # three clips in a row by now
    assert m.retained == frozenset()
    assert m.push(smoothed(4, 0.7)) == []
    assert [shape(t) for t in m.push(smoothed(5, 0.7))] == [("begin", 0, 4, 5, 4, [4, 5], None)]


def test_another_model_version_breaks_the_row(smoothed: Smoothed) -> None:
    m = machine()
    m.push(smoothed(0, 0.7, version="1"))
    assert m.push(smoothed(1, 0.7, version="2")) == []
    assert [shape(t) for t in m.push(smoothed(2, 0.7, version="2"))] == [("begin", 0, 1, 2, 1, [1, 2], None)]


def test_a_segments_end_breaks_the_row(smoothed: Smoothed) -> None:
    m = machine()
    m.push(smoothed(0, 0.7))
    assert m.push(end(1)) == []
    assert m.retained == frozenset()
    assert m.push(smoothed(0, 0.7, segment="t")) == []


# ---- open ----


def test_an_open_alert_lives_through_scores_between_the_thresholds(smoothed: Smoothed) -> None:
    m = machine()
    feed(m, smoothed, 0.7, 0.7)
    assert feed(m, smoothed, 0.5, 0.4, 0.41, start=2) == []


def test_it_ends_with_the_first_clip_below_the_close_threshold(smoothed: Smoothed) -> None:
    m = machine()
    feed(m, smoothed, 0.7, 0.8)
    assert feed(m, smoothed, 0.5, 0.39, start=2) == [(3, ("end", 1, 0, 3, 1, [2, 3], "below_threshold"))]
    assert m.retained == frozenset()
    assert feed(m, smoothed, 0.1, start=4) == []


def test_updates_come_every_update_interval_of_stream_time(smoothed: Smoothed) -> None:
    m = machine(update_every_seconds=3.0)
    assert feed(m, smoothed, *[0.7] * 9, 0.2) == [
        (1, ("begin", 0, 0, 1, 0, [0, 1], None)),  # ends at second 2
        (4, ("update", 1, 0, 4, 0, [2, 3, 4], None)),  # ends at second 5
        (7, ("update", 2, 0, 7, 0, [5, 6, 7], None)),
        (9, ("end", 3, 0, 9, 0, [8, 9], "below_threshold")),
    ]


def test_the_update_interval_counts_stream_time_not_clips(smoothed: Smoothed) -> None:
    m = machine(update_every_seconds=3.0)
    feed(m, smoothed, 0.7, 0.7)
    m.push(Hole("cam", "s", 2, 2))
    assert [shape(t) for t in m.push(smoothed(4, 0.7))] == [("update", 1, 0, 4, 0, [4], None)]


def test_an_end_comes_instead_of_an_update_that_is_due(smoothed: Smoothed) -> None:
    m = machine(update_every_seconds=1.0)
    feed(m, smoothed, 0.7, 0.7)
    assert feed(m, smoothed, 0.2, start=2) == [(2, ("end", 1, 0, 2, 0, [2], "below_threshold"))]


def test_the_peak_is_the_highest_and_of_equals_the_earliest(smoothed: Smoothed) -> None:
    m = machine(update_every_seconds=1.0)
    assert [(i, s[4]) for i, s in feed(m, smoothed, 0.8, 0.7, 0.8, 0.9, 0.9, 0.5, 0.1)] == [
        (1, 0),
        (2, 0),
        (3, 3),
        (4, 3),
        (5, 3),
        (6, 3),
    ]


def test_what_may_be_named_as_peak_is_retained_and_nothing_else(smoothed: Smoothed) -> None:
    m = machine(min_clips=3)
    kept = []
    for index, value in enumerate([0.1, 0.7, 0.6, 0.8, 0.5, 0.9, 0.1]):
        m.push(smoothed(index, value))
        kept.append(m.retained)
    one = [frozenset({ClipKey("s", index)}) for index in range(6)]
    assert kept == [frozenset(), one[1], one[1], one[3], one[3], one[5], frozenset()]


def test_it_ends_with_the_clip_that_reaches_the_longest_duration(smoothed: Smoothed) -> None:
    m = machine(max_duration_seconds=4.0)
    assert feed(m, smoothed, 0.7, 0.7, 0.7, 0.7) == [
        (1, ("begin", 0, 0, 1, 0, [0, 1], None)),
        (3, ("end", 1, 0, 3, 0, [2, 3], "max_duration")),  # from second 0 to second 4
    ]


def test_the_longest_duration_is_met_although_frame_times_carry_rounding() -> None:
    m = machine(max_duration_seconds=0.3, min_clips=1)
    clips = [ClipScore("cam", "s", i, (i + 16) / 10, (i + 17) / 10, 0.0, "m", "1") for i in range(3)]
    assert clips[2].end - clips[0].start < 0.3  # 1.9 − 1.6 in floats: rounding, not a shorter alert
    states = [[t.state for t in m.push(SmoothedScore(clip, 0.7))] for clip in clips]
    assert states == [[BEGIN], [], [END]]


def test_a_clip_that_is_both_too_late_and_too_low_ends_it_as_below(smoothed: Smoothed) -> None:
    m = machine(max_duration_seconds=3.0)
    feed(m, smoothed, 0.7, 0.7)
    assert feed(m, smoothed, 0.2, start=2) == [(2, ("end", 1, 0, 2, 0, [2], "below_threshold"))]


def test_a_row_that_already_lasts_the_longest_duration_begins_and_ends_at_once(smoothed: Smoothed) -> None:
    m = machine(max_duration_seconds=1.5)
    assert feed(m, smoothed, 0.7, 0.8) == [
        (1, ("begin", 0, 0, 1, 1, [0, 1], None)),
        (1, ("end", 1, 0, 1, 1, [], "max_duration")),
    ]


def test_a_short_hole_leaves_the_alert_open(smoothed: Smoothed) -> None:
    m = machine(max_hole=2)
    feed(m, smoothed, 0.7, 0.7)
    assert m.push(Hole("cam", "s", 2, 2)) == []
    assert m.push(smoothed(4, 0.5)) == []
    assert [shape(t) for t in m.push(smoothed(5, 0.1))] == [("end", 1, 0, 5, 0, [4, 5], "below_threshold")]


def test_a_long_hole_ends_it_as_soon_as_it_is_long(smoothed: Smoothed) -> None:
    m = machine(max_hole=2)
    feed(m, smoothed, 0.7, 0.7, 0.5)
    assert m.push(Hole("cam", "s", 3, 2)) == []
    assert [shape(t) for t in m.push(Hole("cam", "s", 5, 1))] == [("end", 1, 0, 2, 0, [2], "gap")]
    assert m.push(Hole("cam", "s", 6, 1)) == []


def test_a_long_hole_that_nobody_announced_ends_it_too(smoothed: Smoothed) -> None:
    m = machine(max_hole=2)
    feed(m, smoothed, 0.7, 0.7)
    assert [shape(t) for t in m.push(smoothed(5, 0.7))] == [("end", 1, 0, 1, 0, [], "gap")]
    assert [shape(t) for t in m.push(smoothed(6, 0.7))] == [("begin", 0, 5, 6, 5, [5, 6], None)]


def test_another_model_version_ends_it_and_its_score_counts_towards_a_new_one(smoothed: Smoothed) -> None:
    m = machine()
    feed(m, smoothed, 0.7, 0.9)
    assert [shape(t) for t in m.push(smoothed(2, 0.7, version="2"))] == [("end", 1, 0, 1, 1, [], "model_changed")]
    assert [shape(t) for t in m.push(smoothed(3, 0.8, version="2"))] == [("begin", 0, 2, 3, 3, [2, 3], None)]


def test_with_min_clips_one_another_version_ends_one_alert_and_begins_the_next(smoothed: Smoothed) -> None:
    m = machine(min_clips=1)
    feed(m, smoothed, 0.7)
    assert [shape(t) for t in m.push(smoothed(1, 0.8, version="2"))] == [
        ("end", 1, 0, 0, 0, [], "model_changed"),
        ("begin", 0, 1, 1, 1, [1], None),
    ]


@pytest.mark.parametrize("reason", ["stream_end", "disconnected", "clock_jump", "size_changed", "shutdown", "error"])
def test_the_segments_end_ends_it_with_its_own_reason(smoothed: Smoothed, reason: str) -> None:
    m = machine()
    feed(m, smoothed, 0.7, 0.7, 0.9)
    assert [shape(t) for t in m.push(end(5, reason))] == [("end", 1, 0, 2, 2, [2], reason)]
    assert m.retained == frozenset()
    assert m.push(end(5, reason)) == []


# ---- cooldown ----


def test_after_the_longest_duration_a_new_alert_begins_after_the_cooldown(smoothed: Smoothed) -> None:
    m = machine(max_duration_seconds=3.0, cooldown_seconds=2.0)
    assert feed(m, smoothed, *[0.7] * 8) == [
        (1, ("begin", 0, 0, 1, 0, [0, 1], None)),
        (2, ("end", 1, 0, 2, 0, [2], "max_duration")),  # at second 3: clips 3 and 4 start before second 5
        (6, ("begin", 0, 5, 6, 5, [5, 6], None)),
        (7, ("end", 1, 5, 7, 5, [7], "max_duration")),
    ]


def test_without_a_cooldown_the_next_clip_may_begin_one_even_if_it_overlaps() -> None:
    m = machine(max_duration_seconds=2.0, min_clips=1)  # clips of 2 s, one a second
    out = []
    for index in range(3):
        clip = ClipScore("cam", "s", index, float(index), index + 2.0, 0.0, "m", "1")
        out += [shape(t)[:4] for t in m.push(SmoothedScore(clip, 0.7))]
    assert out == [
        ("begin", 0, 0, 0),
        ("end", 1, 0, 0),
        ("begin", 0, 1, 1),
        ("end", 1, 1, 1),
        ("begin", 0, 2, 2),
        ("end", 1, 2, 2),
    ]


def test_scores_during_the_cooldown_are_no_part_of_a_row(smoothed: Smoothed) -> None:
    m = machine(cooldown_seconds=2.0)
    feed(m, smoothed, 0.7, 0.7, 0.1)  # ends at second 3; clips from second 5 on count
    assert feed(m, smoothed, 0.9, 0.9, start=3) == []
    assert m.retained == frozenset()
    assert feed(m, smoothed, 0.7, start=5) == []
    assert feed(m, smoothed, 0.7, start=6) == [(6, ("begin", 0, 5, 6, 5, [5, 6], None))]


def test_the_cooldown_holds_across_a_gap_and_a_new_model_version(smoothed: Smoothed) -> None:
    m = machine(max_hole=1, min_clips=1, cooldown_seconds=5.0)
    feed(m, smoothed, 0.7)  # until second 1
    assert [t.end_reason for t in m.push(Hole("cam", "s", 1, 2))] == ["gap"]
    assert m.push(smoothed(3, 0.9, version="2")) == []
    assert m.push(smoothed(5, 0.9, version="2")) == []
    assert [shape(t)[0] for t in m.push(smoothed(6, 0.9, version="2"))] == ["begin"]


def test_a_new_segment_starts_without_a_cooldown(smoothed: Smoothed) -> None:
    m = machine(min_clips=1, cooldown_seconds=500.0)
    feed(m, smoothed, 0.7, 0.1)
    assert feed(m, smoothed, 0.7, start=2) == []
    m.push(end(3))
    assert feed(m, smoothed, 0.7, segment="t") == [(0, ("begin", 0, 0, 0, 0, [0], None))]


# ---- what is refused ----


def test_a_broken_order_is_refused_by_name(smoothed: Smoothed) -> None:
    m = machine()
    m.push(smoothed(4, 0.1))
    with pytest.raises(ValueError, match="camera cam: clip 4 of segment s came after clip 4"):
        m.push(smoothed(4, 0.1))
    with pytest.raises(ValueError, match="camera cam: a clip of segment t came before the end of s"):
        m.push(smoothed(0, 0.1, segment="t"))
    with pytest.raises(ValueError, match="camera cam: got an item of camera other"):
        m.push(Hole("other", "s", 5, 1))


GOOD: dict[str, Any] = {"open_threshold": 0.6, "close_threshold": 0.4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"open_threshold": 0.0}, "open_threshold must be a number above 0 and at most 1, got 0.0"),
        ({"open_threshold": 1.01}, "open_threshold must be a number above 0 and at most 1, got 1.01"),
        ({"open_threshold": math.nan}, "open_threshold must be a number above 0 and at most 1, got nan"),
        ({"open_threshold": "0.6"}, "open_threshold must be a number above 0 and at most 1, got '0.6'"),
        (
            {"close_threshold": 0.7},
            "close_threshold must be a number above 0 and at most open_threshold (0.6), got 0.7",
        ),
        ({"close_threshold": 0}, "close_threshold must be a number above 0 and at most open_threshold (0.6), got 0"),
        ({"min_clips": 0}, "min_clips must be a whole number of at least 1, got 0"),
        ({"min_clips": 2.0}, "min_clips must be a whole number of at least 1, got 2.0"),
        ({"min_clips": True}, "min_clips must be a whole number of at least 1, got True"),
        ({"update_every_seconds": 0}, "update_every_seconds must be a number of seconds above 0, got 0"),
        ({"cooldown_seconds": -0.5}, "cooldown_seconds must be a number of seconds of at least 0, got -0.5"),
        ({"max_duration_seconds": math.inf}, "max_duration_seconds must be a number of seconds above 0, got inf"),
        ({"max_duration_seconds": None}, "max_duration_seconds must be a number of seconds above 0, got None"),
    ],
)
def test_impossible_settings_name_the_setting_the_value_and_what_is_allowed(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        AlertSettings(**(GOOD | changes))
    assert str(caught.value) == message


def test_the_edges_of_the_settings_are_allowed() -> None:
    edge = AlertSettings(open_threshold=1, close_threshold=1, min_clips=1, cooldown_seconds=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        edge.min_clips = 3  # type: ignore[misc]
