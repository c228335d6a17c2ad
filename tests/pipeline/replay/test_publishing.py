"""The end of a replay with --publish: how long it waits for the topic, and what it reports."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from ports import free_port
from replays import begin

from pipeline.replay import publishing
from pipeline.replay.publishing import Publishing
from pipeline.settings import KafkaSettings


def unreachable_topic(folder: Path) -> Publishing:
    """Publishing to a broker that does not exist."""
    return Publishing(folder, KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}", topic="t"))


def test_the_end_does_not_wait_for_ever_and_says_what_is_left_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 1.0)
    unreachable = unreachable_topic(tmp_path)
    unreachable.outbox.accept(begin("gate"))
    unreachable.flush(threading.Event())
    (line,) = unreachable.close()
    assert line.startswith("1 alert event(s) are not on the topic t yet (Kafka 127.0.0.1:")
    assert line.endswith(
        f": Connection refused; is the broker running there?); the same command with --out {tmp_path} sends them"
    )


def test_the_end_waits_as_long_as_the_topic_takes_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 2.0)
    unreachable = unreachable_topic(tmp_path)
    events = [begin(f"camera {number}") for number in range(6)]
    for event in events:
        unreachable.outbox.accept(event)

    def take_slowly() -> None:
        for event in events:
            time.sleep(0.5)
            unreachable.outbox.deliveries("kafka").delivered([event.id])

    slow = threading.Thread(target=take_slowly)
    slow.start()
    unreachable.flush(threading.Event())
    slow.join()
    assert unreachable.outbox.depth() == 0
    assert unreachable.close() == []


def test_each_topic_of_each_broker_has_an_outbox_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_STOP_SECONDS", 0.0)
    one, other, long = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", "t" * 248
    places = [(one, "a"), (other, "a"), (one, "b"), (one, f"{long}1"), (one, f"{long}2")]
    for bootstrap, topic in places:
        there = Publishing(tmp_path, KafkaSettings(bootstrap=bootstrap, topic=topic))
        assert there.outbox.depth() == 0
        there.outbox.accept(begin("gate"))
        assert there.close()
    assert len(list(tmp_path.glob("outbox-a-*.sqlite"))) == 2


@pytest.mark.realparts
def test_an_event_that_the_broker_refuses_permanently_is_reported(tmp_path: Path, broker: str) -> None:
    to_topic = Publishing(tmp_path, KafkaSettings(bootstrap=broker, topic=f"t{tmp_path.name}"))
    to_topic.outbox.accept(begin("gate", evidence="x" * 2_000_000))
    to_topic.notify()
    to_topic.flush(threading.Event())
    (line,) = to_topic.close()
    assert line.startswith(f"1 alert event(s) will never be on the topic t{tmp_path.name} and are set aside in")
    assert "refuses it permanently" in line
