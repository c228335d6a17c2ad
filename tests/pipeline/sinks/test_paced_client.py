"""Clients that wait cost next to nothing: an idle reader, whether the broker holds a fetch or answers at once, and a
producer at a frozen broker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.net.manager import KafkaConnectionManager
from kafka.protocol.consumer import FetchRequest
from tail_process import TOPIC

from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.kafka_producer import close_producer, open_producer
from pipeline.sinks.kafka_security import KafkaSecurity

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


def processor_seconds(pid: int) -> float:
    """Time that a process has spent on processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_fetches_of_an_idle_reader_and_the_delay_of_a_message(
    broker: Any, set_partitions: Any, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = 0
    send = KafkaConnectionManager.send

    def counted(manager: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal fetches
        fetches += isinstance(request, FetchRequest)
        return send(manager, request, *arguments, **options)

    monkeypatch.setattr(KafkaConnectionManager, "send", counted)
    set_partitions(broker.bootstrap, 1)
    made = Broker(broker.bootstrap, KafkaSecurity()).client(KafkaConsumer, group_id=None)
    with contextlib.closing(made) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        consumer.seek_to_end(partition)
        consumer.position(partition)
        consumer.poll(1000)
        fetches = 0
        assert consumer.poll(3000) == {}
        assert 3 <= fetches <= 15  # one in 0.3 s, or in 0.5 s where the broker holds it
        for _ in range(3):
            publish(broker.bootstrap, b"message", partition=0)
            began = time.monotonic()
            assert consumer.poll(10_000)
            assert time.monotonic() - began < 2.0
            assert consumer.poll(700) == {}  # idle again


def test_an_idle_tail_on_the_embedded_broker(noida_db: Any, set_partitions: Any, tail: Any, until: Any) -> None:
    set_partitions(noida_db.bootstrap, 1)
    running = tail(noida_db.bootstrap)
    until(lambda: running.listens, "it listens")
    time.sleep(1)
    before = processor_seconds(running.process.pid)
    time.sleep(8)
    used = processor_seconds(running.process.pid) - before
    # bench/idle.py measures it. This bound is for a machine that does other work; without the pause: 34 to 83 %.
    assert used / 8 < 0.03


@pytest.mark.parametrize("reconnects", [False, True], ids=["a request in flight", "a connection being made"])
def test_a_producer_whose_broker_is_frozen(noida_db: Any, set_partitions: Any, reconnects: bool) -> None:
    set_partitions(noida_db.bootstrap, 2)
    producer = open_producer(Broker(noida_db.bootstrap, KafkaSecurity()), "waits")
    for partition in (0, 1):
        producer.send(TOPIC, b"before", partition=partition).get(30)
    os.kill(noida_db.pid, signal.SIGSTOP)
    try:
        client = producer._sender._client
        if reconnects:
            for connection in list(client._manager._conns.values()):
                client._net.call_soon(connection.close)
            client.wakeup()
        flights = []
        for partition in (0, 1):  # not in one request
            flights.append(producer.send(TOPIC, b"waits", partition=partition))
            time.sleep(0.5)
        before = time.process_time()
        time.sleep(3)
        used = time.process_time() - before
    finally:
        os.kill(noida_db.pid, signal.SIGCONT)
    for flight in flights:
        flight.get(30)
    close_producer(producer)
    assert used / 3 < 0.1  # without the pauses a whole core
