"""What a replay's topic has not got in the end, and how long the end waits for it."""

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


def to_nobody(folder: Path) -> Publishing:
    """To a broker that is not there."""
    return Publishing(folder, KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}", topic="t"))


def test_the_end_does_not_wait_for_ever_and_says_what_is_left_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 1.0)
    nobody = to_nobody(tmp_path)
    nobody.outbox.accept(begin("gate"))
    nobody.flush(threading.Event())
    (line,) = nobody.close()
    assert line.startswith("1 alert event(s) are not on the topic t yet (Kafka 127.0.0.1:")
    assert line.endswith(
        f": Connection refused; is the broker running there?); the same command with --out {tmp_path} sends them"
    )


def test_the_end_waits_as_long_as_the_topic_takes_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 2.0)
    nobody = to_nobody(tmp_path)
    events = [begin(f"camera {number}") for number in range(6)]
    for event in events:
        nobody.outbox.accept(event)

    def take_slowly() -> None:
        for event in events:
            time.sleep(0.5)
            nobody.outbox.delivered([event.id])

    slow = threading.Thread(target=take_slowly)
    slow.start()
    nobody.flush(threading.Event())
    slow.join()
    assert nobody.outbox.depth() == 0
    assert nobody.close() == []


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
def test_an_event_that_the_broker_will_never_take_is_told(tmp_path: Path, broker: str) -> None:
    to_topic = Publishing(tmp_path, KafkaSettings(bootstrap=broker, topic=f"t{tmp_path.name}"))
    to_topic.outbox.accept(begin("gate", evidence="x" * 2_000_000))
    to_topic.notify()
    to_topic.flush(threading.Event())
    (line,) = to_topic.close()
    assert line.startswith(f"1 alert event(s) will never be on the topic t{tmp_path.name} and are set aside in")
    assert "refuses it for ever" in line
