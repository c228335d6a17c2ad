"""Reading a topic to the end that it has now, against a real broker."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tail_process import TOPIC

from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.topic_end import read_to_end


@pytest.mark.realparts
class TestAgainstTheBroker:
    def test_everything_and_then_the_end(
        self, noida_db: Any, publish: Any, make_event: Any, set_partitions: Any
    ) -> None:
        set_partitions(noida_db.bootstrap, 3)
        events = {number: make_event(f"camera {number}", 0) for number in range(3)}
        for partition, event in events.items():
            publish(noida_db.bootstrap, event, partition=partition)
        publish(noida_db.bootstrap, b"garbage", None, make_event("camera 0", 1), partition=0)
        foreign: list[tuple[str, int]] = []
        read = [
            one.event
            for one in read_to_end(
                Broker(noida_db.bootstrap), TOPIC, on_foreign=lambda where, count: foreign.append((where, count))
            )
        ]
        assert {event.id for event in read} == {event.id for event in [*events.values(), make_event("camera 0", 1)]}
        assert [event.data.sequence for event in read if event.subject == "camera 0"] == [0, 1]
        assert foreign == [(f"{TOPIC}, partition 0, offset 1", 1), (f"{TOPIC}, partition 0, offset 2", 2)]

    def test_events_that_are_published_meanwhile_are_left_out(
        self, noida_db: Any, publish: Any, make_event: Any
    ) -> None:
        publish(noida_db.bootstrap, make_event("gate", 0), make_event("gate", 1))
        events = read_to_end(Broker(noida_db.bootstrap), TOPIC)
        first = next(events)
        publish(noida_db.bootstrap, make_event("gate", 2))
        assert [one.event.data.sequence for one in (first, *events)] == [0, 1]

    def test_since_a_moment(self, noida_db: Any, publish: Any, make_event: Any) -> None:
        publish(noida_db.bootstrap, make_event("gate", 0))
        time.sleep(1.1)
        moment = datetime.now(UTC)
        publish(noida_db.bootstrap, make_event("gate", 1))
        read = read_to_end(Broker(noida_db.bootstrap), TOPIC, since=moment)
        assert [one.event.data.sequence for one in read] == [1]
        assert list(read_to_end(Broker(noida_db.bootstrap), TOPIC, since=datetime.now(UTC))) == []

    def test_an_empty_topic_and_a_missing_one(self, noida_db: Any, set_partitions: Any) -> None:
        broker = Broker(noida_db.bootstrap)
        with pytest.raises(BrokerUnavailableError, match=f"topic {TOPIC} does not exist"):
            list(read_to_end(broker, TOPIC))
        set_partitions(noida_db.bootstrap, 2)
        assert list(read_to_end(broker, TOPIC)) == []


def test_without_a_broker() -> None:
    with pytest.raises(BrokerUnavailableError, match="Connection refused"):
        list(read_to_end(Broker("127.0.0.1:1"), TOPIC))
