"""When the cameras showed what, and what alerts are worth beside it: joins in the middle, loops, runs cut short."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.cli.demo.truth import Verdict, Witness, shown
from pipeline.courtyard.settings import Incident, IncidentKind

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TOLERANCE = 2.0  # seconds after an incident's end within which its alert may open
KINDS = list(IncidentKind)


@dataclass(frozen=True)
class Sent:
    pass_: int
    frame: int
    at: datetime


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sendings(frames: int, fps: float, seconds: float) -> list[Sent]:
    """A film of so many frames, played over and over for so long from START on."""
    total = int(seconds * fps) + 1
    return [Sent(n // frames, n % frames, after(n / fps)) for n in range(total)]


def events(number: int, opened: float, ended: float | None = None) -> list[AlertEvent]:
    """An alert whose deciding clip (1.28 s) ended at ``opened``, and its end; seconds after START."""

    def clip(index: int, end: float) -> SmoothedScore:
        times = ClipTimes(after(end - 1.28), after(end), after(end), after(end))
        return SmoothedScore(ClipScore("c", "c/1/0", index, end - 1.28, end, 0.9, "m", "1", times=times), 0.9)

    first = clip(2 * number, opened)
    common = {"camera": "c", "segment": "c/1/0", "first": first.clip, "peak": first, "threshold": 0.5}
    told = [AlertTransition(AlertState.BEGIN, sequence=0, last=first.clip, scores=(first,), **common)]
    if ended is not None:
        last = clip(2 * number + 1, ended)
        end = {"sequence": 1, "last": last.clip, "scores": (last,), "end_reason": "below_threshold"}
        told.append(AlertTransition(AlertState.END, **end, **common))
    return [event_from(transition, site="demo", run="", evidence=[]) for transition in told]


def a_witness(incidents: list[Incident], log: list[Sent], fps: float = 10.0) -> Witness:
    return Witness(incidents, fps=fps, sent=lambda: log)


RUNNER = Incident(IncidentKind.RUNNER, 20, 39)  # 2.0 s to 4.0 s of a film of 10 s at 10 frames a second
FALL = Incident(IncidentKind.FALL, 60, 79)


def test_an_incident_is_shown_once_in_each_pass_at_the_time_of_sending() -> None:
    times = [(one.kind, one.began, one.ended) for one in shown([RUNNER, FALL], sendings(100, 10.0, 16.5), fps=10.0)]
    assert times == [
        ("runner", after(2), after(4)),
        ("fall", after(6), after(8)),
        ("runner", after(12), after(14)),
        ("fall", after(16), None),  # still going on
    ]


def test_what_the_camera_sent_late_began_late() -> None:
    """The server was held up for three seconds: its frames count from when they were really sent."""
    log = [
        Sent(one.pass_, one.frame, one.at + timedelta(seconds=3 * (one.frame >= 15))) for one in sendings(100, 10, 9)
    ]
    (runner, _) = shown([RUNNER, FALL], log, fps=10.0)
    assert (runner.began, runner.ended) == (after(5), after(7))


def test_an_incident_that_ends_with_the_film_is_over_when_the_next_pass_begins() -> None:
    to_the_end = Incident(IncidentKind.CART, 90, 99)
    (cart,) = shown([to_the_end], sendings(100, 10.0, 10.0), fps=10.0)
    assert cart.ended == after(10)


def test_an_alert_is_told_beside_its_incident_with_the_delay_to_the_consumer() -> None:
    witness = a_witness([RUNNER, FALL], sendings(100, 10.0, 20))
    begin, end = events(0, opened=13.5, ended=15.0)
    verdict = witness.add_event(begin, after(13.7))
    assert verdict is not None
    assert verdict.found is not None
    assert (verdict.found.kind, verdict.found.began) == ("runner", after(12))
    assert verdict.delay_seconds == pytest.approx(1.7)
    assert witness.add_event(end, after(15.2)) is None
    assert witness.add_event(begin, after(15.3)) is None  # delivered twice
    (again,) = events(1, opened=13.9)
    assert witness.add_event(again, after(14)) == Verdict(None, None)  # the incident has its alert
    assert witness.alerts == 2


def test_an_incident_under_way_at_the_join_and_one_at_the_end_count_for_nothing() -> None:
    """Joined in the middle of the runner at 2 s; left when the runner of the second pass had just begun."""
    witness = a_witness([RUNNER, FALL], sendings(100, 10.0, 13))
    for number, (opened, ended) in enumerate([(3.5, 5.0), (7.0, 9.0), (12.4, 13.0)]):
        for event in events(number, opened, ended):
            witness.add_event(event, after(opened + 0.1))
    sheet = witness.sheet(after(3.0), after(12.7))
    assert [outcome.kind for outcome in sheet.outcomes] == ["fall"]
    assert sheet.delays == pytest.approx((1.1,))
    assert (sheet.alerts, sheet.false_alarms) == (1, 0)
    assert sheet.camera_seconds == pytest.approx(6.0)  # from 6.0, where the fall begins, to 12.0, where the runner does


def test_an_alert_about_nothing_is_a_false_alarm_and_its_time_counts() -> None:
    log = sendings(300, 10.0, 29.9)
    witness = a_witness([Incident(IncidentKind.CART, 50, 99)], log)
    for event in events(0, opened=20.0, ended=23.0):
        witness.add_event(event, after(20.2))
    sheet = witness.sheet(after(1.0), after(29.0))
    assert (sheet.incidents, sheet.found, sheet.false_alarms) == (1, 0, 1)
    # 28 s watched, but for the cart's 5 s and 2 s on each side of it
    assert (sheet.time_outside, sheet.time_in_alert_outside) == (pytest.approx(19.0), pytest.approx(3.0))


@st.composite
def runs(draw: st.DrawFn) -> tuple[float, int, list[Incident], float, float]:
    """fps, the film's frames, its incidents, and the seconds at which the stream was joined and left."""
    fps = draw(st.sampled_from([5.0, 12.5, 25.0]))
    incidents, frame = [], 0
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=5)):
        first = frame + draw(st.integers(0, 60))
        last = first + draw(st.integers(0, 60))
        incidents.append(Incident(kind, first, last))
        frame = last + 2
    frames = frame + draw(st.integers(1, 60))
    joined = draw(st.floats(0, 1.5 * frames / fps))
    left = joined + draw(st.floats(0, 2 * frames / fps))
    # No frame is sent in the very microsecond of the join or the end.
    return fps, frames, incidents, round(joined, 2) + 0.00317, round(left, 2) + 0.00317


@settings(deadline=None)
@given(run=runs(), share=st.floats(0, 0.9), lag=st.floats(0, 3))
def test_whatever_was_joined_and_looped_exactly_the_whole_incidents_count(
    run: tuple[float, int, list[Incident], float, float], share: float, lag: float
) -> None:
    """One alert for each showing that ever was, seen whole or not: all that counts is found, and none is false."""
    fps, frames, incidents, joined, left = run
    log = sendings(frames, fps, left + frames / fps + TOLERANCE)
    witness = a_witness(incidents, log, fps)
    expected = []
    number = 0
    for pass_ in range(log[-1].pass_):  # the last pass is cut short, beyond the end of the run
        for incident in incidents:
            began = (pass_ * frames + incident.first_frame) / fps
            ended = (pass_ * frames + incident.last_frame + 1) / fps
            delay = share * (ended - began)
            for event in events(number, began + delay, ended):
                witness.add_event(event, after(began + delay + lag))
            number += 1
            if began > joined and ended + TOLERANCE < left:
                expected.append((incident.kind, delay + lag))
    sheet = witness.sheet(after(joined), after(left))
    assert [outcome.kind for outcome in sheet.outcomes] == [kind for kind, _ in expected]
    assert sheet.delays == pytest.approx([delay for _, delay in expected], abs=1e-5)
    assert sheet.false_alarms == 0
    assert sheet.time_in_alert_outside == pytest.approx(0, abs=1e-5)
    assert sheet.camera_seconds <= left - joined + 1e-6


@settings(deadline=None)
@given(run=runs())
def test_an_alert_that_never_ends_finds_nothing_and_takes_all_the_time(
    run: tuple[float, int, list[Incident], float, float],
) -> None:
    fps, frames, incidents, joined, left = run
    witness = a_witness(incidents, sendings(frames, fps, left), fps)
    (begin,) = events(0, opened=joined - 3.0)
    witness.add_event(begin, after(joined))
    sheet = witness.sheet(after(joined), after(left))
    assert (sheet.found, sheet.false_alarms) == (0, 0)
    assert sheet.share_in_alert_outside in (None, pytest.approx(1.0))
