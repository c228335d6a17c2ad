"""Cameras that a worker hands over while something of them is still to come, without servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from grey_cameras import GreyCamera
from shared_camera import CLIP, SERVED, SETTINGS, Stub

from pipeline.alerts.enrich import Outcome
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.recent_features import Moment
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.ownership import Claim
from pipeline.live.score_states import ScoreRecord
from pipeline.live.worker import Worker

BRIGHT = 230
#: Far more than a busy machine needs.
SECONDS = 60.0


class Kept:
    """An outbox in memory."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []
        self.refused: list[AlertEvent] = []
        self.is_full = False
        self._changed = threading.Condition()

    def accept(self, event: AlertEvent) -> bool | None:
        with self._changed:
            (self.refused if self.is_full else self.events).append(event)
            self._changed.notify_all()
        return None if self.is_full else True

    def of(self, camera: str) -> list[AlertEvent]:
        return [event for event in list(self.events) if event.data.camera == camera]

    def wait_for(self, right: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(right, SECONDS), [event.id for event in self.events]


class States:
    """In place of the publisher of scores and states: the records, in their order, as JSON has them."""

    site = "test"

    def __init__(self) -> None:
        self.records: list[ScoreRecord] = []
        self.lost: set[str] = set()  # cameras that another worker has claimed
        self._changed = threading.Condition()

    def put(self, record: ScoreRecord) -> None:
        with self._changed:
            self.records.append(ScoreRecord.model_validate_json(record.to_json()))
            self._changed.notify_all()

    secure = put

    def is_lost(self, camera: str, _generation: int) -> bool:
        return camera in self.lost

    def wait_for(self, right: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(right, SECONDS), self.records


class LateLikeness:
    """In place of the likeness of a site whose embedding model answers only when the test lets it."""

    what = "likeness"

    def __init__(self) -> None:
        self.answers: list[Callable[[str | None], None]] = []
        self.restored_values: list[str] = []

    def addition(self, _watch: object, _watches: object) -> LateLikeness:
        return self

    def ask(self, _moment: Moment, answer: Callable[[str | None], None], *, final: bool) -> bool:
        self.answers.append(answer)
        return True

    def value(self, _event: AlertEvent, answer: str) -> str:
        return answer

    def added(self, event: AlertEvent, _value: str) -> AlertEvent:
        return event

    def saw(self, *_arguments: object) -> None:
        pass

    def stated(self, value: str) -> Any:
        return [value, None]  # a state as JSON may hold nulls

    def restored(self, found: Any) -> str:
        value, nothing = found
        assert nothing is None
        self.restored_values.append(value)
        return str(value)

    def forget(self, _what: str | Iterable[Moment]) -> None:
        pass

    def on_outcome(self, _outcome: Outcome) -> None:
        pass


@pytest.fixture
def outbox() -> Kept:
    return Kept()


@pytest.fixture
def worker(outbox: Kept) -> Iterator[Callable[..., Worker]]:
    """Starts a worker without cameras; it is stopped at the end."""
    started: list[Worker] = []

    def start(**options: Any) -> Worker:
        common: dict[str, Any] = {"site": "test", "run": "", "scorer": Stub(), "queue_clips": 4, "outbox": outbox}
        started.append(Worker([], notify=lambda: None, pictures=None, **common | options))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def plan(camera: str) -> CameraPlan:
    """A camera whose alert begins at once and stays open."""
    detector = DetectorPlan(CLIP, SERVED, lambda _served: SETTINGS)
    return CameraPlan(camera, lambda _callbacks: GreyCamera(camera, BRIGHT), [detector])


def test_an_answer_that_comes_after_the_hand_over_is_not_reported(outbox: Kept, worker: Callable[..., Worker]) -> None:
    likeness = LateLikeness()
    one = worker(likeness=likeness)
    one.add(plan("gate"))
    outbox.wait_for(lambda: bool(outbox.of("gate")))  # the begin, without likeness
    one.hand_over("gate")
    given = outbox.of("gate")
    for answer in likeness.answers:
        answer("alike")
    one.add(plan("yard"))  # whose alerts pass the same thread, after every answer
    outbox.wait_for(lambda: bool(outbox.of("yard")))
    assert outbox.of("gate") == given
    assert all(event.data.state != "end" for event in given)


def test_the_next_worker_knows_the_additions_to_an_open_alert(outbox: Kept, worker: Callable[..., Worker]) -> None:
    likeness, states = LateLikeness(), States()
    one = worker(likeness=likeness, states=states)
    one.add(plan("gate"), Claim("gate", 1))
    outbox.wait_for(lambda: bool(outbox.of("gate")))
    likeness.answers[0]("alike")
    outbox.wait_for(lambda: len(outbox.of("gate")) > 1)  # the update that brings it
    one.hand_over("gate")
    left = states.records[-1].state
    assert left is not None
    assert left.additions == {"likeness": ["alike", None]}
    next_likeness = LateLikeness()
    second = worker(likeness=next_likeness, states=states)
    second.add(plan("gate"), Claim("gate", 2, {"": left}))
    assert next_likeness.restored_values == ["alike"]


def test_an_alert_that_a_full_outbox_has_refused_is_continued_without_a_word(
    outbox: Kept, worker: Callable[..., Worker]
) -> None:
    outbox.is_full = True
    states = States()
    first = worker(states=states)
    first.add(plan("gate"), Claim("gate", 1))
    outbox.wait_for(lambda: bool(outbox.refused))
    first.hand_over("gate")
    left = states.records[-1].state
    assert left is not None

    outbox.is_full = False
    second = worker(states=states)
    second.add(plan("gate"), Claim("gate", 2, {"": left}))
    newest = left.chain.newest
    states.wait_for(lambda: (state := states.records[-1].state) is not None and state.chain.newest != newest)
    second.stop_camera("gate")  # which ends the alert
    assert outbox.events == []


def test_an_alert_of_a_camera_that_another_worker_has_is_left_to_it_and_counted(
    outbox: Kept, worker: Callable[..., Worker]
) -> None:
    states, metrics = States(), Metrics()
    states.lost = {"gate"}
    one = worker(states=states, listeners=[MetricsListener(metrics)])
    one.add(plan("gate"), Claim("gate", 1))
    one.add(plan("yard"), Claim("yard", 1))
    outbox.wait_for(lambda: bool(outbox.of("yard")))
    until = time.monotonic() + SECONDS
    while not left_of(metrics, "gate") and time.monotonic() < until:
        time.sleep(0.02)
    assert outbox.of("gate") == []
    assert left_of(metrics, "gate") >= 1
    assert left_of(metrics, "yard") == 0


def left_of(metrics: Metrics, camera: str) -> float:
    return metrics.registry.get_sample_value("mistwatch_events_left_total", {"camera": camera}) or 0.0


def test_the_records_together_have_every_smoothed_score_and_the_settings_that_judge_it(
    worker: Callable[..., Worker],
) -> None:
    states = States()
    one = worker(states=states)
    one.add(plan("gate"), Claim("gate", 1))
    states.wait_for(lambda: sum(len(record.recent) for record in states.records) >= 4)
    one.hand_over("gate")
    records = [record for record in states.records if record.scores_before is not None]
    scores = [score for record in records for score in record.recent]
    assert [score.index for score in scores] == list(range(len(scores)))
    so_far = 0
    for record in records:
        assert record.scores_before == so_far
        so_far += len(record.recent)
    state = records[-1].state
    assert state is not None
    assert (scores[-1].index, scores[-1].segment) == (state.chain.newest.index, state.chain.newest.segment)
    assert records[-1].judged_by is not None
    assert records[-1].judged_by.open_threshold == SETTINGS.alert.open_threshold
