"""The demo's count of alerts whose nearest earlier alert is of the same kind, by hand."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest
from rich.console import Console

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.likeness import GroupSeen, Likeness, SimilarAlert, embedding_text
from pipeline.cli.demo.display import DemoDisplay
from pipeline.cli.demo.truth import Witness
from pipeline.cli.demo.watch import Watch
from pipeline.courtyard.settings import Incident, IncidentKind
from pipeline.live.board import CameraState

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FPS = 10.0
#: Two runners and a fall, in a film of 30 s.
INCIDENTS = [
    Incident(IncidentKind.RUNNER, 20, 39),
    Incident(IncidentKind.FALL, 60, 79),
    Incident(IncidentKind.RUNNER, 120, 139),
]
#: Seconds at which alerts begin: two about the runners, one about the fall, two about nothing.
RUNNER, FALL, SECOND_RUNNER, FALSE, SECOND_FALSE = 3.0, 7.0, 13.0, 20.0, 25.0
UNKNOWN = UUID(int=7)


@dataclass(frozen=True)
class Sent:
    pass_: int
    frame: int
    at: datetime


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def alert(detector: str, opened: float) -> list[AlertEvent]:
    """The begin and the end of an alert of a second."""

    def clip(index: int, end: float) -> SmoothedScore:
        times = ClipTimes(after(end - 1), after(end), after(end), after(end))
        return SmoothedScore(ClipScore("c", "c/1/0", index, end - 1, end, 0.9, "m", "1", times=times), 0.9)

    first, last = clip(round(opened), opened), clip(round(opened) + 1, opened + 1)
    common = {"camera": "c", "segment": "c/1/0", "first": first.clip, "peak": first, "threshold": 0.5}
    steps = [
        AlertTransition(AlertState.BEGIN, sequence=0, last=first.clip, scores=(first,), end_reason=None, **common),
        AlertTransition(
            AlertState.END, sequence=1, last=last.clip, scores=(last,), end_reason="below_threshold", **common
        ),
    ]
    return [
        event_from(step, site="demo", run="", evidence=[], detector=detector, several_detectors=True) for step in steps
    ]


def identity(detector: str, opened: float) -> UUID:
    return alert(detector, opened)[0].data.alert_id


def likeness_to(similar: Sequence[UUID]) -> Likeness:
    return Likeness(
        embedding_version="made/1",
        embedding=embedding_text(np.array([1, 0], np.float32)),
        group=GroupSeen(
            id=UNKNOWN, size=1, first_at=None, last_day=0, judgement=None, similarity=0.5, mute_similarity=0.5
        ),
        similar=tuple(
            SimilarAlert(alert_id=one, camera="c", started_at=None, similarity=0.9, judgement=None) for one in similar
        ),
    )


@pytest.fixture
def watch() -> Watch:
    """Two detectors have raised the same alerts; their likeness is not known yet."""
    sent = [Sent(0, frame, after(frame / FPS)) for frame in range(300)]
    witnesses = {name: Witness(INCIDENTS, fps=FPS, sent=lambda: sent) for name in ("one", "two")}
    display = DemoDisplay(Console(file=io.StringIO()))
    made = Watch({"c": witnesses}, 30.0, stop=threading.Event(), display=display, lines=None)
    for opened in (RUNNER, FALL, SECOND_RUNNER, FALSE, SECOND_FALSE):
        for detector in witnesses:
            for event in alert(detector, opened):
                made.consumed(event, after(opened + 1))
    return made


@pytest.mark.parametrize(
    ("opened", "nearest", "expected"),
    [
        (SECOND_RUNNER, [("one", RUNNER), ("one", FALL)], (1, 1)),
        (SECOND_RUNNER, [("one", FALL), ("one", RUNNER)], (0, 1)),
        (SECOND_FALSE, [("one", FALSE)], (1, 1)),
        (SECOND_FALSE, [("one", RUNNER)], (0, 1)),
        (FALL, [("one", FALSE)], (0, 1)),
        (FALL, [], (0, 0)),
        # The other detector's alert about the same runner is passed over.
        (SECOND_RUNNER, [("two", SECOND_RUNNER)], (0, 0)),
        (SECOND_RUNNER, [("two", SECOND_RUNNER), ("two", FALL), ("one", RUNNER)], (0, 1)),
    ],
)
def test_the_nearest_alert_of_another_incident_counts(
    watch: Watch, opened: float, nearest: list[tuple[str, float]], expected: tuple[int, int]
) -> None:
    likeness = likeness_to([identity(*one) for one in nearest])
    watch.consumed(alert("one", opened)[1].enriched(likeness, None), after(opened + 1))
    assert watch.of_the_same_kind() == expected


def test_alerts_that_the_demo_does_not_know_are_passed_over(watch: Watch) -> None:
    likeness = likeness_to([UNKNOWN, identity("one", RUNNER)])
    watch.consumed(alert("one", SECOND_RUNNER)[1].enriched(likeness, None), after(14))
    assert watch.of_the_same_kind() == (1, 1)


def test_the_latest_likeness_of_an_alert_counts_once(watch: Watch) -> None:
    begin, end = alert("one", SECOND_RUNNER)
    for event, opened in ((begin, FALL), (end, RUNNER)):
        watch.consumed(event.enriched(likeness_to([identity("one", opened)]), None), after(14))
    assert watch.of_the_same_kind() == (1, 1)
    assert watch.alerts == 10


def test_a_camera_that_the_console_adds_neither_delays_nor_fails_the_watch() -> None:
    stop = threading.Event()
    display = DemoDisplay(Console(file=io.StringIO()))
    watch = Watch({"c": {"one": Witness([], fps=FPS, sent=list)}}, 0.0, stop=stop, display=display, lines=None)
    states = [CameraState("c", live=True, ever_connected=True), CameraState("added", live=True)]
    refresh_until(stop, watch, states)
    assert (watch.complete, watch.trouble()) == (True, None)


def test_a_watch_whose_camera_is_removed_before_it_connects_ends_in_time() -> None:
    stop = threading.Event()
    display = DemoDisplay(Console(file=io.StringIO()))
    watch = Watch({"c": {"one": Witness([], fps=FPS, sent=list)}}, 0.0, stop=stop, display=display, lines=None)
    refresh_until(stop, watch, [])
    assert (watch.complete, watch.trouble()) == (True, None)
    assert watch.sheet("one").incidents == 0


def refresh_until(stop: threading.Event, watch: Watch, states: list[CameraState]) -> None:
    limit = time.monotonic() + 20
    while not stop.wait(0.1):
        assert time.monotonic() < limit
        watch.refresh(states)
