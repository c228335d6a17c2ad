"""The memory of the console's judgements, and events that come while it is built."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from alike_alerts import NOON, alike, at, begin, judged

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event, read_event
from pipeline.console import judging
from pipeline.console.documents import NewJudgement
from pipeline.console.judging import JudgementDesk
from pipeline.console.state import ConsoleState
from pipeline.sinks.base import Verdict

SECONDS = 60.0


class TakingSink:
    """A sink that acknowledges everything, and keeps the documents."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    @contextlib.contextmanager
    def connect(self) -> Iterator[None]:
        yield

    def send(self, documents: list[Any], _has_time: object) -> list[Any]:
        self.taken += documents
        return [SimpleNamespace(verdict=Verdict.ACKNOWLEDGED) for _ in documents]


class Held:
    """Reads events as the console does, and holds the reading of the first one."""

    def __init__(self) -> None:
        self.began, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, document: bytes) -> Event:
        if not self.began.is_set():
            self.began.set()
            assert self.goes_on.wait(SECONDS)
        return read_event(document)


@pytest.fixture
def state() -> ConsoleState:
    return ConsoleState(clock=lambda: NOON + timedelta(days=1))


@pytest.fixture
def sink() -> TakingSink:
    return TakingSink()


@pytest.fixture
def desk(state: ConsoleState, sink: TakingSink) -> JudgementDesk:
    return JudgementDesk(state, sink)  # type: ignore[arg-type]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """The reading of the memory's first alert, which waits."""
    held = Held()
    monkeypatch.setattr(judging, "read_event", held)
    return held


def alert(number: int, *, sequence: int = 0, degrees: float = 0.0) -> AlertEvent:
    return alike(begin(float(number), sequence=sequence), at(degrees))


def put(state: ConsoleState, *events: Event) -> None:
    """Give the console records of its topic, on this thread."""
    for event in events:
        record = SimpleNamespace(value=event.model_dump_json().encode(), timestamp=NOON.timestamp() * 1000)
        state.take_alert(record)


def judge(desk: JudgementDesk, state: ConsoleState, identity: UUID, verdict: Any = "real") -> Any:
    entry = state.alerts.get(str(identity))
    assert entry is not None
    return desk.judge(entry, NewJudgement(verdict=verdict))[0].data


def test_pages_are_answered_while_the_memory_is_built_and_events_that_come_meanwhile_are_in_it_once(
    state: ConsoleState, sink: TakingSink, desk: JudgementDesk, held: Held
) -> None:
    first, known, new = alert(0), alert(1), alert(2, degrees=90.0)
    put(state, first, known, judged(first.data.alert_id, "normal", at(0.0)))
    results: list[Any] = []
    judging_thread = threading.Thread(target=lambda: results.append(judge(desk, state, first.data.alert_id)))
    judging_thread.start()
    assert held.began.wait(SECONDS)
    assert state.lock.acquire(timeout=SECONDS)  # as a page does
    state.lock.release()
    later = alert(1, sequence=1, degrees=45.0)
    put(state, new, later, judged(new.data.alert_id, "normal", at(90.0)))
    assert judging_thread.is_alive()
    held.goes_on.set()
    judging_thread.join(SECONDS)
    assert [one.target for one in results] == [first.data.alert_id]
    assert len(sink.taken) == 1

    put(state, judged(known.data.alert_id, "normal", at(45.0)))
    memory = desk._memory
    assert memory is not None
    site = memory.of_site("yard")
    alerts = {one.alert_id: one for one in site.history.alerts()}
    assert set(alerts) == {one.data.alert_id for one in (first, known, new)}
    assert alerts[known.data.alert_id].sequence == 1
    taken = [one.data.target for one in memory._judgements["yard"]]
    assert taken == [one.data.alert_id for one in (first, new, known)]
    assert judge(desk, state, new.data.alert_id, "withdrawn").target == new.data.alert_id


def test_an_event_that_was_counted_already_when_the_building_began_changes_nothing(
    state: ConsoleState, desk: JudgementDesk, held: Held
) -> None:
    first = alert(0)
    put(state, first)
    thread = threading.Thread(target=lambda: judge(desk, state, first.data.alert_id))
    thread.start()
    assert held.began.wait(SECONDS)
    state.on_event(first)  # the follower had put it into the book, and reports it only now
    held.goes_on.set()
    thread.join(SECONDS)
    assert desk._memory is not None
    [group] = desk._memory.of_site("yard").history.groups()
    assert group.size == 1


def test_a_building_that_fails_is_done_again_by_the_next_judgement(
    state: ConsoleState, desk: JudgementDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_document: bytes) -> Event:
        raise ValueError("not an event")

    first, second = alert(0), alert(1)
    put(state, first)
    with monkeypatch.context() as patched:
        patched.setattr(judging, "read_event", fail)
        with pytest.raises(ValueError, match="not an event"):
            judge(desk, state, first.data.alert_id)
    put(state, second)
    assert judge(desk, state, second.data.alert_id).target == second.data.alert_id


def test_the_memory_is_built_again_after_many_events_and_loses_none_that_come_meanwhile(
    state: ConsoleState, desk: JudgementDesk, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.goes_on.set()
    monkeypatch.setattr(judging, "_MOST_EVENTS", 2)
    first = alert(0)
    put(state, first)
    judge(desk, state, first.data.alert_id)
    put(state, *(alert(number) for number in (1, 2, 3)))
    held.began.clear()
    held.goes_on.clear()
    thread = threading.Thread(target=lambda: judge(desk, state, first.data.alert_id))
    thread.start()
    assert held.began.wait(SECONDS)
    put(state, alert(4))
    held.goes_on.set()
    thread.join(SECONDS)
    assert desk._memory is not None
    assert len(desk._memory.of_site("yard").history.alerts()) == 5
