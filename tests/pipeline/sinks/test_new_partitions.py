"""Partitions that are added to the topic while ``mistwatch alerts tail`` follows it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from tail_process import TOPIC

from pipeline.sinks import tail as tail_module
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.kafka_security import KafkaSecurity
from pipeline.sinks.tail import TopicReader

pytestmark = pytest.mark.realparts


class Listener:
    def listening(self) -> None: ...
    def waiting(self, reason: str) -> None:
        raise AssertionError(reason)

    def foreign_message(self, where: str, count: int) -> None:
        raise AssertionError(where)


def test_they_are_read_within_30_s_from_their_first_event_on(
    broker: Any, set_partitions: Any, tail: Any, publish: Any, make_event: Any, until: Any
) -> None:
    set_partitions(broker.bootstrap, 1)
    publish(broker.bootstrap, make_event("old", 0))
    running = tail(broker.bootstrap)
    until(lambda: running.listens, "it listens")
    publish(broker.bootstrap, make_event("gate", 0), partition=0)
    until(lambda: len(running.out) == 1, "its first event is printed")
    time.sleep(1.0)  # the metadata that it asked for at its start is there
    set_partitions(broker.bootstrap, 3)
    publish(broker.bootstrap, make_event("gate", 1), make_event("gate", 2), partition=2)
    until(lambda: len(running.out) == 3, "the camera's events are printed", timeout=30)
    assert ["BEGIN" in line for line in running.out] == [True, False, False]
    assert all(" gate " in line for line in running.out)


def test_a_camera_that_has_moved_keeps_its_order(
    apache_kafka: Any, set_partitions: Any, publish: Any, make_event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old partition holds several answers of 1 MiB of the camera's events, and the new one its last events.

    The embedded broker puts everything into one answer.
    """
    monkeypatch.setattr(tail_module, "_METADATA_SECONDS", 0.5)
    set_partitions(apache_kafka.bootstrap, 1)
    give_up_at = time.monotonic() + 60
    reader = TopicReader(
        Broker(apache_kafka.bootstrap, KafkaSecurity()),
        TOPIC,
        since=None,
        listener=Listener(),
        stopped=lambda: time.monotonic() > give_up_at,
    )
    publish(apache_kafka.bootstrap, make_event("early", 0))
    with contextlib.closing(reader.events()) as events:
        # The reader starts at the end: give it a first event, and do not read on while the rest is published.
        monkeypatch.setattr(Listener, "listening", lambda _self: publish(apache_kafka.bootstrap, make_event("gate", 0)))
        assert next(events).event.data.sequence == 0
        publish(apache_kafka.bootstrap, *(make_event("gate", n, padding=50_000) for n in range(1, 100)), partition=0)
        set_partitions(apache_kafka.bootstrap, 2)
        publish(apache_kafka.bootstrap, *(make_event("gate", n) for n in range(100, 103)), partition=1)
        time.sleep(1.0)  # the client's own thread learns of the new partition
        assert [next(events).event.data.sequence for _ in range(102)] == list(range(1, 103))
