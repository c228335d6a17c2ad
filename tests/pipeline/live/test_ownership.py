"""Claims on real brokers: rising generations, states for the next owner, and owners that have lost a camera."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from brokers import (  # noqa: F401  # fixtures
    apache_kafka,
    broker,
    formatted_kafka,
    kafka_jars,
    noida_db,
)
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port
from pydantic import ValidationError
from structlog.testing import capture_logs

from operators.chain_state import ChainState, ClipState
from pipeline.alerts.assembler import AssemblerState
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.film import Film
from pipeline.live.claims import ClaimRecord, Claims
from pipeline.live.listener import Watch
from pipeline.live.ownership import Ownership
from pipeline.live.score_states import ScoreRecord, ScoreStates
from pipeline.sinks.compacted_topic import CompactedTopic, Record
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError

#: Far more than a busy machine needs.
SECONDS = 60.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def state(index: int) -> AssemblerState:
    """A state that can be told from others by its clip's ordinal."""
    clip = ClipState(segment="s", index=index, start=index * 1.0, end=index + 1.0, score=0.5, captured_at=NOW)
    return AssemblerState(chain=ChainState(model="m", model_version="1", newest=clip, smoothed=0.5))


def record(generation: int | None, index: int, detector: str = "") -> ScoreRecord:
    return ScoreRecord(
        site="test", camera="gate", detector=detector, generation=generation, smoothed=0.5, state=state(index)
    )


def indices(states: Any) -> dict[str, int]:
    return {detector: left.chain.newest.index for detector, left in states.items()}


class Owner:
    """A worker's part that claims cameras, and the calls that it gets."""

    def __init__(self, bootstrap: str, name: str) -> None:
        topic = CompactedTopic(Broker(bootstrap), "scores", partitions=3, request_timeout_seconds=5.0)
        self.fenced: list[tuple[str, int]] = []
        self.states = ScoreStates(topic, site="test")
        self.ownership = Ownership(
            self.states, worker=name, on_fenced=lambda camera, generation: self.fenced.append((camera, generation))
        )
        self.ownership.start()

    def close(self) -> None:
        self.states.stop(5.0)
        self.ownership.close()

    def write(self, generation: int, index: int, detector: str = "") -> None:
        self.states.put(record(generation, index, detector))
        assert self.states.flush(SECONDS)


@pytest.fixture
def owner(broker: Any) -> Iterator[Callable[[str], Owner]]:  # noqa: F811
    owners: list[Owner] = []

    def make(name: str) -> Owner:
        owners.append(Owner(broker.bootstrap, name))
        return owners[-1]

    yield make
    for one in owners:
        one.close()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.05)


def test_the_next_owner_has_a_higher_generation_and_the_states_of_the_last(owner: Callable[[str], Owner]) -> None:
    first, second = owner("first"), owner("second")
    claim = first.ownership.claim("gate")
    assert claim.states == {}
    first.write(claim.generation, 1)
    first.write(claim.generation, 2)
    first.write(claim.generation, 7, "fights")
    taken, other = second.ownership.claim_all(["gate", "yard"])
    assert taken.generation > claim.generation
    assert indices(taken.states) == {"": 2, "fights": 7}
    assert taken.states[""] == state(2)
    assert (other.camera, other.states) == ("yard", {})

    until(lambda: first.fenced == [("gate", taken.generation)], "the first owner reads the claim")
    first.ownership.release("gate")
    assert not second.fenced
    assert second.ownership.generation_of("gate") == taken.generation
    again = first.ownership.claim("gate")
    assert again.generation > taken.generation
    until(lambda: second.fenced == [("gate", again.generation)], "the second owner reads the claim")


def test_an_open_alert_keeps_a_film_of_which_little_is_known_yet(owner: Callable[[str], Owner]) -> None:
    """As for the first seconds of each film: its length is not known, and is null in the document."""
    first, second = owner("first"), owner("second")
    claim = first.ownership.claim("gate")
    film = Film(uri="file:///f.mp4", notes="file:///f.json", started_at=None, seconds=None, alert_starts_at_seconds=2.5)
    likeness = {"group": {"first_at": None, "judgement": None}}
    wanted = dataclasses.replace(state(3), film=film, additions={"likeness": likeness})
    first.states.put(record(claim.generation, 3).model_copy(update={"state": wanted}))
    assert first.states.flush(SECONDS)
    assert second.ownership.claim("gate").states == {"": wanted}


@given(st.data())
def test_a_record_is_read_back_as_it_was_written(data: st.DataObject) -> None:
    """Each field that may be null is so in turn, in the record and in all that it holds."""
    whole = record(3, 5).model_copy(
        update={
            "alert": UUID(int=1),
            "state": dataclasses.replace(
                state(5),
                film=Film(uri="a", notes="b", started_at=NOW, seconds=3.0, alert_starts_at_seconds=1.0),
                evidence="file:///a.jpg",
                zones=("road",),
            ),
        }
    )
    document = json.loads(whole.model_dump_json())
    places: list[tuple[dict[str, Any], str]] = []

    def walk(part: Any) -> None:
        for name, value in part.items() if isinstance(part, dict) else ():
            places.append((part, name))
            walk(value)

    walk(document)
    part, name = data.draw(st.sampled_from(places))
    part[name] = None
    try:
        known = ScoreRecord.model_validate(document)
    except ValidationError:
        return  # it may not be null
    assert ScoreRecord.model_validate_json(known.to_json()) == known


def test_the_state_of_a_worker_that_has_lost_the_camera_is_not_continued(owner: Callable[[str], Owner]) -> None:
    zombie, second, third = owner("zombie"), owner("second"), owner("third")
    lost = zombie.ownership.claim("gate")
    zombie.write(lost.generation, 1)
    taken = second.ownership.claim("gate")
    second.write(taken.generation, 5)
    zombie.write(lost.generation, 99)  # which is now the newest record of the key
    until(lambda: newest(second) == 5, "the owner puts its state back")
    assert indices(third.ownership.claim("gate").states) == {"": 5}


def newest(owner: Owner) -> int:
    """The state that compaction would leave."""
    value = owner.states.topic.latest()["gate/"].value
    assert value is not None
    found = ScoreRecord.model_validate_json(value).state
    assert found is not None
    return found.chain.newest.index


def test_events_of_an_older_generation_are_late(owner: Callable[[str], Owner], make_event: Any) -> None:
    first, second, third = owner("first"), owner("second"), owner("third")
    claim = first.ownership.claim("gate")
    event = of_generation(make_event("gate", 0), claim.generation)
    assert not first.ownership.is_late(event)
    assert not third.ownership.is_late(event), "its generation is the newest"
    taken = second.ownership.claim("gate")
    until(lambda: first.ownership.is_late(event), "the claim is read")
    until(lambda: third.ownership.is_late(event), "the claim is read, also without a claim of one's own")
    assert not third.ownership.is_late(of_generation(event, taken.generation))
    assert not third.ownership.is_late(make_event("gate", 0)), "it has no generation"


def of_generation(event: AlertEvent, generation: int) -> AlertEvent:
    data = event.data.model_copy(update={"generation": generation})
    return event.model_copy(update={"data": data}).numbered(data.sequence)


def test_a_removed_camera_leaves_nothing(owner: Callable[[str], Owner]) -> None:
    first, second = owner("first"), owner("second")
    claim = first.ownership.claim("gate")
    first.write(claim.generation, 1)
    first.ownership.release("gate", detectors=[""])
    assert first.states.topic.latest() == {}
    again = second.ownership.claim("gate")
    assert again.states == {}
    assert again.generation > claim.generation


def test_a_record_that_is_no_state_is_skipped(owner: Callable[[str], Owner]) -> None:
    first, second = owner("first"), owner("second")
    claim = first.ownership.claim("gate")
    first.write(claim.generation, 3)
    for key, value in [("gate/", b"{"), ("gate/", b'{"site": 1}'), ("gate/x", record(1, 1).model_dump_json().encode())]:
        first.states.topic.send_now(key, value, partition_key="gate")
    assert indices(second.ownership.claim("gate").states) == {"": 3}


def test_without_the_topic_no_camera_is_claimed() -> None:
    topic = CompactedTopic(Broker(f"127.0.0.1:{free_port()}"), "scores", partitions=1)
    ownership = Ownership(ScoreStates(topic, site="test"), worker="me", on_fenced=lambda *_: None)
    with pytest.raises(BrokerUnavailableError, match="is the broker running there"):
        ownership.claim("gate")
    assert ownership.generation_of("gate") is None
    ownership.close()


@pytest.mark.waits
def test_a_claim_at_a_frozen_broker_does_not_hold_up_the_close(noida_db: Any) -> None:  # noqa: F811
    states = ScoreStates(CompactedTopic(Broker(noida_db.bootstrap), "scores", partitions=3), site="test")
    ownership = Ownership(states, worker="one", on_fenced=lambda _camera, _generation: None)
    ownership.start()
    ownership.claim("gate")
    os.kill(noida_db.pid, signal.SIGSTOP)
    try:
        claim = threading.Thread(target=_claim_in_vain, args=(ownership,))
        claim.start()
        until(states.topic._sending.locked, "the claim is in flight")
        began = time.monotonic()
        ownership.close(1.0)
        took = time.monotonic() - began
    finally:
        os.kill(noida_db.pid, signal.SIGCONT)
    assert took < 5.0, "the claim itself waits for 10 s"
    claim.join(SECONDS)
    states.stop(5.0)
    states.topic.close()


def _claim_in_vain(ownership: Ownership) -> None:
    with contextlib.suppress(BrokerUnavailableError):
        ownership.claim("yard")


def test_events_of_unclaimed_cameras_do_not_each_wait_for_a_frozen_broker(make_event: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # takes connections, and answers nothing
        topic = CompactedTopic(Broker(f"127.0.0.1:{frozen.getsockname()[1]}"), "scores", partitions=1)
        ownership = Ownership(ScoreStates(topic, site="test"), worker="me", on_fenced=lambda *_: None)
        with capture_logs() as logged:
            assert not ownership.is_late(of_generation(make_event("camera-0", 0), 1), is_patient=False)
            began = time.monotonic()
            for number in range(1, 20):
                assert not ownership.is_late(of_generation(make_event(f"camera-{number}", 0), 1), is_patient=False)
            assert time.monotonic() - began < 2, "nothing is asked again so soon"
        assert [one["log_level"] for one in logged] == ["warning"]
        ownership.close()


@dataclasses.dataclass(frozen=True)
class Write:
    """A worker writes its state; ``worker`` counts the claims so far from the newest, so 0 is the owner."""

    worker: int


@given(st.lists(st.one_of(st.just("claim"), st.integers(0, 3).map(Write)), max_size=30))
def test_the_owner_before_leaves_its_state_whatever_the_others_write(steps: list[str | Write]) -> None:
    claims, generations = Claims(), list[int]()
    expected: tuple[int, int] | None = None  # (generation, index) of the last write by a worker that had the camera
    for offset, step in enumerate(steps):
        if isinstance(step, str):
            generations.append(offset)
            value = ClaimRecord(worker="w").model_dump_json().encode()
            assert claims.take(Record("gate", value, 0, offset, NOW)) is None
        elif step.worker < len(generations):
            generation = generations[-1 - step.worker]
            value = record(generation, offset).model_dump_json().encode()
            outcome = claims.take(Record("gate/", value, 0, offset, NOW + timedelta(seconds=offset)))
            assert outcome == (None if step.worker == 0 else Watch("gate"))
            if step.worker == 0:
                expected = (generation, offset)
    left = claims.cameras["gate"].states if "gate" in claims.cameras else {}
    assert indices(left) == ({} if expected is None else {"": expected[1]})
