"""The alerts of smoothed scores against the machine that runs live, and what they are worth at all thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_runs import clips, row, run

from operators.alerting import AlertMachine, AlertSettings, AlertState
from operators.figures.events import Span
from operators.scores import ClipScore, SegmentEnd, SmoothedScore
from pipeline.evaluation.alarms import alarm_curve, alert_spans
from pipeline.evaluation.judged import RAW
from pipeline.evaluation.judged_run import judge_run

LEVELS = [0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0]


def shown_every_clip(scores, start, end, breaks, chosen, gated):
    spans = []
    for first, behind in zip(breaks, [*breaks[1:], len(scores)], strict=True):
        machine = AlertMachine("gate", chosen, max_hole=0)
        transitions = []
        for place in range(first, behind):
            times = (start[place], end[place])
            clip = ClipScore("gate", "s", place, *times, scores[place], "m", "1", gated=gated[place])
            transitions += machine.push(SmoothedScore(clip, scores[place]))
        transitions += machine.push(SegmentEnd("gate", "s", behind, "stream_end"))
        begins = [one for one in transitions if one.state is AlertState.BEGIN]
        ends = [one for one in transitions if one.state is AlertState.END]
        spans += [Span(b.last.end, max(b.last.end, e.last.end)) for b, e in zip(begins, ends, strict=True)]
    return tuple(spans)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(LEVELS), min_size=1, max_size=60),
    st.sets(st.integers(1, 59), max_size=3),
    st.tuples(st.sampled_from(LEVELS[1:]), st.sampled_from(LEVELS[1:])).map(sorted),
    st.integers(1, 3),
    st.sampled_from([0.0, 2.0, 7.0]),
    st.sampled_from([0.7, 3.0, 20.0, 600.0]),
    st.floats(0.5, 3.0),
    st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_the_alerts_are_those_of_the_machine_that_is_shown_every_clip(
    scores, breaks, thresholds, min_clips, cooldown, longest, length, gated
):
    start = np.arange(len(scores)) * 0.64
    end = start + length  # clips may overlap, or have something between them
    segments = (0, *sorted(one for one in breaks if one < len(scores)))
    chosen = AlertSettings(
        open_threshold=thresholds[1],
        close_threshold=thresholds[0],
        min_clips=min_clips,
        cooldown_seconds=cooldown,
        max_duration_seconds=longest,
    )
    found = alert_spans(np.array(scores), start, end, segments, chosen, np.array(gated[: len(scores)]))
    assert found == shown_every_clip(scores, start.tolist(), end.tolist(), segments, chosen, gated)


def test_hours_have_as_many_thresholds_as_a_minute():
    """Light that comes and goes over the hours, and an incident."""
    scored = clips(0.4 + 0.4 * np.sin(np.arange(40_000) / 2000))
    fight = clips([0.1, 0.95, 0.95, 0.1])
    rows = [(row("yard", scored), scored), (row("fight", fight, label=1, intervals=[(16, 48)]), fight)]
    points = alarm_curve(judge_run(run(rows, cooldown_seconds=10.0, close_threshold=0.4)).videos)
    assert len(points) > 60  # quantiles of the scores; of two videos there are two highest ones


def test_the_alarm_curve_by_hand():
    # Smoothed as they are: one incident that comes to 0.8, one false rise to 0.6 in a normal hour.
    fight = clips([0.2, 0.8, 0.8, 0.2])
    calm = clips([0.1, 0.6, 0.6, 0.1], start=[0, 900, 1800, 2700], end=[900, 1800, 2700, 3600])
    rows = [(row("fight", fight, label=1, intervals=[(20, 48)]), fight), (row("calm", calm), calm)]
    judged = judge_run(run(rows, max_duration_seconds=7200.0))
    points = {round(point.threshold, 3): point.sheet for point in alarm_curve(judged.videos, RAW)}
    found = {
        threshold: (sheet.recall, sheet.false_alarms)
        for threshold, sheet in points.items()
        if threshold in (0.8, 0.6, 0.5, 0.2)
    }
    # At 0.2 the alert opens with the first clip, before the fight has begun: it is a false alarm, and nothing finds it.
    assert found == {0.8: (1.0, 0), 0.6: (1.0, 1), 0.5: (1.0, 1), 0.2: (0.0, 2)}
    assert list(points) == sorted(points, reverse=True)


def test_without_alerts_there_is_no_alarm_curve():
    scored = clips([0.5])
    video = judge_run(run([(row("yard", scored), scored)])).videos[0]
    assert alarm_curve([replace(video, chain=None)]) == []
