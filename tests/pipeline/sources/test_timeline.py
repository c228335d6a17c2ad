"""Verdicts on PTS: tables, and what holds of any times."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.timeline import Timeline, Verdict

GO, DROP, FORWARD, BACK = Verdict.GO_ON, Verdict.DROP, Verdict.JUMP_FORWARD, Verdict.JUMP_BACK
STRAY = Verdict.STRAY


def judged(times, nominal_fps=None, arrivals=None):
    """The verdict on each of the times, and (item by item) how many were taken when it was decided."""
    timeline = Timeline(nominal_fps)
    decided, when = [], []
    for number, time in enumerate(times):
        new = timeline.take(number, time, None if arrivals is None else arrivals[number])
        decided += new
        when += [number + 1] * len(new)
    decided += timeline.rest()
    assert [number for number, _ in decided] == list(range(len(times))), "in the order in which they were taken"
    return [verdict for _, verdict in decided], when


@pytest.mark.parametrize(
    ("times", "verdicts", "nominal_fps"),
    [
        ([0.0, 0.1, 0.2], [GO, GO, GO], 10.0),
        ([None, 0.1, 0.2], [DROP, GO, GO], 10.0),  # the first picture of an RTSP connection
        ([0.0, None, 0.2], [GO, DROP, GO], None),
        ([0.0, 0.1, 0.1, 0.2], [GO, GO, DROP, GO], 10.0),  # multi-slice streams repeat one
        ([0.0, 0.2, 0.1, 0.3], [GO, GO, DROP, GO], 10.0),
        ([10.0, 9.0, 10.1], [GO, DROP, GO], 10.0),
        ([10.0, 8.9, 9.0], [GO, BACK, GO], 10.0),
        ([100.0, 0.0, 0.1], [GO, BACK, GO], 10.0),
        ([0.0, 5.0, 10.1], [GO, GO, FORWARD], 10.0),
        ([0.0, 5.1, 5.2], [GO, FORWARD, GO], None),
        ([0.0, 10.0, 110.0, 210.1], [GO, GO, GO, FORWARD], 0.1),  # time lapse: ten periods
        ([5.0, 95443.7, 95443.8], [GO, FORWARD, GO], 25.0),  # 32 bits of 90 kHz wrap after 13 hours
    ],
)
def test_verdicts(times, verdicts, nominal_fps):
    assert judged(times, nominal_fps)[0] == verdicts


@pytest.mark.parametrize(
    ("times", "verdicts"),
    [
        # One stray stamp, far off, near, and several in a row.
        ([0.0, 0.1, -9800.0, 0.3, 0.4], [GO, GO, STRAY, GO, GO]),
        ([0.0, 0.1, 9800.0, 0.3, 0.4], [GO, GO, STRAY, GO, GO]),
        ([10.0, 10.1, 13.1, 10.3], [GO, GO, STRAY, GO]),
        ([10.0, 10.1, 11.1, 10.3], [GO, GO, STRAY, GO]),
        ([10.0, 10.1, 8.0, 10.3], [GO, GO, STRAY, GO]),
        ([0.0, 9800.0, 9800.1, 0.3, 0.4], [GO, STRAY, STRAY, GO, GO]),
        ([0.0, 9800.0, -300.0, 0.3, 0.4], [GO, STRAY, STRAY, GO, GO]),
        # Echoes between: of the old clock, of the new one.
        ([5.0, 9800.0, 5.0, 5.2], [GO, STRAY, DROP, GO]),
        ([5.0, 105.0, 105.0, 105.1, 105.2], [GO, FORWARD, DROP, GO, GO]),
        ([5.0, 9800.0, None, 5.2], [GO, STRAY, DROP, GO]),
        # A clock that was reset goes on from there; so does one that pauses.
        ([100.0, 0.0, 0.1, 0.2, 0.3], [GO, BACK, GO, GO, GO]),
        ([100.0, 98.5, 98.6, 98.7], [GO, BACK, GO, GO]),
        ([0.0, 3.0, 3.1, 3.2], [GO, GO, GO, GO]),
        ([0.0, 3.0, 2.9, 3.1], [GO, GO, DROP, GO]),
        # At the end nothing speaks against a jump.
        ([0.0, 0.1, 8.0], [GO, GO, FORWARD]),
        ([9.0, 9.1, 0.0, 0.1], [GO, GO, BACK, GO]),
    ],
)
def test_a_jump_counts_when_further_pictures_confirm_it(times, verdicts):
    assert judged(times, 10.0)[0] == verdicts


def test_a_jump_is_decided_by_the_third_picture_or_half_a_second():
    assert judged([100.0, 0.0, 0.04, 0.08, 0.12], 25.0)[1] == [1, 4, 4, 4, 5]
    assert judged([100.0, 0.0, 0.5, 1.0], 2.0)[1] == [1, 3, 3, 4]


def test_no_more_than_eight_pictures_are_held_back():
    verdicts, when = judged([100.0, *[0.0] * 12, 0.1], 25.0)
    assert verdicts == [GO, BACK, *[DROP] * 11, GO]
    assert when[1] == 9


def test_a_pause_that_the_arrival_shares_is_decided_at_once():
    """A camera that sends a picture every ten seconds states no rate; none of them waits for the next one."""
    times = [0.0, 10.0, 20.0, 30.0]
    assert judged(times, arrivals=[7.0, 17.1, 26.9, 37.0]) == ([GO, FORWARD, FORWARD, FORWARD], [1, 2, 3, 4])
    assert judged(times)[0] == [GO, FORWARD, FORWARD, FORWARD]


@given(gaps=st.lists(st.floats(0.001, 20), max_size=40), fps=st.sampled_from([None, 0.5, 25.0]))
def test_while_time_rises_a_gap_alone_decides(gaps, fps):
    times, limit = [0.0], max(5.0, 10 / fps if fps else 0)
    for gap in gaps:
        times.append(times[-1] + gap)
    expected = [GO] + [FORWARD if later - time > limit else GO for time, later in itertools.pairwise(times)]
    assert judged(times, fps)[0] == expected


@given(times=st.lists(st.none() | st.floats(0, 30), max_size=60))
def test_between_jumps_time_goes_on_in_steps_that_are_no_jumps(times):
    last = None
    for time, verdict in zip(times, judged(times, 10.0)[0], strict=True):
        if verdict in (DROP, STRAY):
            continue
        assert time is not None
        if last is None:
            assert verdict is GO
        elif verdict is GO:
            assert last < time <= last + 5.0
        elif verdict is FORWARD:
            assert time > last + 5.0
        else:
            assert time < last - 1.0
        last = time
