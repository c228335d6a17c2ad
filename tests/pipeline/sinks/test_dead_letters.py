"""Dead letters on a real topic: refused, unreadable and oversized events, and a topic that is away."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from scripted_sink import ScriptedServer

from pipeline.alerts.outbox import Outbox, SetAside
from pipeline.sinks.base import Verdict
from pipeline.sinks.dead_letters import DeadLetterListener, DeadLetters
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.relay import Relay

DEAD = "mistwatch.alerts.dead"


class Recorder(DeadLetterListener):
    def __init__(self) -> None:
        self.letters: list[tuple[str, bool]] = []
        self.lines: list[str] = []

    def sent(self, event: SetAside, *, complete: bool) -> None:
        self.letters.append((event.id, complete))

    def waiting(self, reason: str) -> None:
        self.lines.append(reason)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@contextmanager
def letters(bootstrap: str, outbox: Outbox, recorder: Recorder) -> Iterator[DeadLetters]:
    sink = KafkaSink(bootstrap, DEAD, request_timeout_seconds=4.0)
    made = DeadLetters(sink, outbox, "yard", recorder)
    made.start()
    try:
        yield made
    finally:
        made.stop(30.0)


@pytest.fixture
def read_letters(read_topic: Callable[..., Any]) -> Callable[[str], list[dict[str, Any]]]:
    return lambda bootstrap: [json.loads(value) for _, value, _, _ in read_topic(bootstrap, DEAD)]


@pytest.mark.realparts
def test_a_refused_event_is_on_the_topic_with_its_reason_and_leaves_the_outbox(
    noida_db: Any, outbox: Outbox, recorder: Recorder, make_event: Any, read_letters: Any, until: Any
) -> None:
    server = ScriptedServer()
    server.script = [Verdict.NEVER]
    events = [make_event("gate", number) for number in range(2)]
    for event in events:
        outbox.accept(event)
    with letters(noida_db.bootstrap, outbox, recorder) as dead:
        with Relay(server.sink(), outbox.deliveries("kafka")):
            until(lambda: outbox.depth() == 0, "the other one delivered, the first set aside")
        dead.notify()
        until(lambda: recorder.letters == [(events[0].id, True)], "the letter is sent")
    [letter] = read_letters(noida_db.bootstrap)
    assert letter["type"] == "mistwatch.dead_letter"
    assert (letter["id"], letter["subject"], letter["source"]) == (f"{events[0].id}/kafka", "gate", "/mistwatch/yard")
    assert letter["data"]["sink"] == "kafka"
    assert letter["data"]["reason"] == "as the script says"
    assert letter["data"]["event"] == json.loads(events[0].to_json())
    assert letter["data"]["document_base64"] is None
    with closing(sqlite3.connect(outbox.path)) as file, pytest.raises(sqlite3.OperationalError, match="locked"):
        file.execute("SELECT 1 FROM events")  # held by the outbox: read it after its end
    outbox.close()
    with closing(sqlite3.connect(outbox.path)) as file:
        assert file.execute("SELECT count(*) FROM events").fetchone() == (0,)


@pytest.mark.realparts
def test_an_event_that_cannot_be_read_has_its_bytes_in_the_letter(
    noida_db: Any, tmp_path: Path, recorder: Recorder, make_event: Any, read_letters: Any, until: Any
) -> None:
    damaged, path = b'\xff\xfe{"type":', tmp_path / "damaged"
    with closing(Outbox(path, ["kafka", "mqtt"])) as outbox:
        for camera in ("gate", "hall"):
            outbox.accept(make_event(camera, 0))
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE events SET document = CAST(? AS TEXT) WHERE camera = 'gate'", (damaged,))
    with closing(Outbox(path, ["kafka", "mqtt"])) as outbox, letters(noida_db.bootstrap, outbox, recorder) as dead:
        for sink in ("kafka", "mqtt"):
            assert [event.subject for event in outbox.deliveries(sink).pending()] == ["hall"]
        dead.notify()
        until(lambda: len(recorder.letters) == 2, "a letter for each sink")
        assert outbox.set_aside() == []
    found = read_letters(noida_db.bootstrap)
    assert {letter["data"]["sink"] for letter in found} == {"kafka", "mqtt"}
    for letter in found:
        assert letter["subject"] == "unknown"
        assert base64.b64decode(letter["data"]["document_base64"]) == damaged
        assert letter["data"]["reason"].startswith("this version of mistwatch cannot read it")


@pytest.mark.realparts
def test_an_event_that_is_too_large_for_the_topic_too_is_named_there_and_stays(
    noida_db: Any, outbox: Outbox, recorder: Recorder, make_event: Any, read_letters: Any, until: Any
) -> None:
    event = make_event("gate", 0, padding=2_000_000)
    outbox.accept(event)
    with letters(noida_db.bootstrap, outbox, recorder) as dead:
        with Relay(KafkaSink(noida_db.bootstrap), outbox.deliveries("kafka")):
            until(lambda: outbox.depth() == 0, "set aside")
        dead.notify()
        until(lambda: recorder.letters == [(event.id, False)], "the letter is sent")
    [letter] = read_letters(noida_db.bootstrap)
    assert letter["data"]["event"] is None
    assert letter["data"]["document_bytes"] == len(event.to_json())
    assert outbox.set_aside() == [], "the topic knows"
    outbox.close()
    with closing(sqlite3.connect(outbox.path)) as file:
        assert file.execute("SELECT id, reported FROM events JOIN deliveries USING (position)").fetchall() == [
            (event.id, 1)
        ]


@pytest.mark.realparts
def test_while_the_topic_is_away_events_stay_set_aside_and_nothing_waits(
    noida_db: Any, tmp_path: Path, recorder: Recorder, make_event: Any, read_letters: Any, until: Any
) -> None:
    noida_db.stop()
    path = tmp_path / "o"
    events = [make_event("gate", number) for number in range(2)]
    server = ScriptedServer()
    server.script = [Verdict.NEVER]
    with closing(Outbox(path, ["webhook"])) as outbox, letters(noida_db.bootstrap, outbox, recorder) as dead:
        for event in events:
            outbox.accept(event)
        with Relay(server.sink(), outbox.deliveries("webhook")):
            until(lambda: outbox.depth() == 0, "the other one delivered")
        dead.notify()
        until(lambda: recorder.lines, "the outage is reported")
        assert recorder.lines[0].startswith(f"Kafka {noida_db.bootstrap}: Connection refused")
        assert [each.id for each in outbox.set_aside()] == [events[0].id]
    noida_db.start()
    with (
        closing(Outbox(path, ["webhook"])) as outbox,
        letters(noida_db.bootstrap, outbox, recorder),
    ):  # the next process
        until(lambda: recorder.letters == [(events[0].id, True)], "the letter is sent")
    assert [letter["data"]["event_id"] for letter in read_letters(noida_db.bootstrap)] == [events[0].id]


@pytest.mark.realparts
def test_a_letter_without_anything_to_report_makes_no_topic(
    noida_db: Any, outbox: Outbox, recorder: Recorder, make_event: Any, until: Any
) -> None:
    outbox.accept(make_event("gate", 0))
    with letters(noida_db.bootstrap, outbox, recorder) as dead:
        with Relay(KafkaSink(noida_db.bootstrap), outbox.deliveries("kafka")):
            until(lambda: outbox.depth() == 0, "delivered")
        dead.notify()
    with closing(KafkaAdminClient(bootstrap_servers=noida_db.bootstrap)) as admin:
        assert DEAD not in admin.list_topics()
