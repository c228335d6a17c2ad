"""Reading a topic from a moment on, where the clocks that wrote its times were set meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from pipeline.cli import embedded
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.since import offsets_since
from pipeline.sinks.tail import TopicReader

TOPIC = "alerts"
NOW = datetime.now(UTC)
#: Stamps in seconds from now: of a box that starts in 1970, and of one that knows the time.
START_OF_1970 = -NOW.timestamp()


#: Stamps of a topic's messages, and the first that belongs to the last ten minutes.
CASES = {
    "set-since": ([START_OF_1970 + 20, START_OF_1970 + 40, -60, -30], 0),
    "not-set-yet": ([START_OF_1970 + 20, START_OF_1970 + 40], 0),
    "a-reboot-meanwhile": ([-7200, START_OF_1970 + 20, -60], 1),
    "a-reboot-long-ago": ([START_OF_1970 + 20, -7200, -60], 2),
    "never-set": ([-7200, -3600, -60, -30], 2),
    "nothing-new": ([-7200, -3600], 2),
    "an-hour-ahead-then-set-back": ([-120, 3000, -60, -30], 0),
}


def publish(bootstrap: str, topic: str, messages: Sequence[tuple[float, bytes]], *, create: bool = True) -> None:
    """Send messages with these stamps, to a topic whose times are those of its producers."""
    if create:
        with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
            admin.create_topics({topic: {"configs": {"message.timestamp.type": "CreateTime"}}}, wait_for_metadata=True)
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        for stamp, value in messages:
            producer.send(topic, value, partition=0, timestamp_ms=int((NOW.timestamp() + stamp) * 1000)).get(60)
    finally:
        producer.close()


def test_events_of_the_last_ten_minutes(broker: Any) -> None:
    for name, (stamps, _) in CASES.items():
        publish(broker.bootstrap, name, [(stamp, b"an event") for stamp in stamps])
    partitions = [TopicPartition(name, 0) for name in CASES]
    with Broker(broker.bootstrap).client(KafkaConsumer, group_id=None) as consumer:
        found = offsets_since(consumer, partitions, NOW - timedelta(minutes=10))
    assert {partition.topic: offset for partition, offset in found.items()} == {
        name: first for name, (_, first) in CASES.items()
    }


def test_a_reader_prints_the_events_of_a_clock_that_was_not_set(noida_db: Any, make_event: Any) -> None:
    events = [make_event("gate", number) for number in range(3)]
    stamps = [-9000, START_OF_1970 + 20, -60]
    publish(noida_db.bootstrap, TOPIC, [(stamp, one.to_json()) for stamp, one in zip(stamps, events, strict=True)])
    stop_at = time.monotonic() + 60
    seen: list[str] = []

    class Silent:
        def listening(self) -> None: ...
        def waiting(self, reason: str) -> None: ...
        def foreign_message(self, where: str, count: int) -> None: ...

    reader = TopicReader(
        Broker(noida_db.bootstrap),
        TOPIC,
        since=NOW - timedelta(minutes=10),
        listener=Silent(),
        stopped=lambda: len(seen) >= 2 or time.monotonic() > stop_at,
    )
    seen.extend(read.event.id for read in reader.events())
    assert seen == [event.id for event in events[1:]]


def test_the_times_of_a_topic_that_we_create_are_the_brokers(broker: Any, make_event: Any) -> None:
    began = time.time()
    sink = KafkaSink(broker.bootstrap, TOPIC)
    with sink.connect():
        pass
    event = make_event("gate", 0).to_json()
    # 1970, and later than a broker accepts of a producer.
    publish(broker.bootstrap, TOPIC, [(START_OF_1970 + 20, event), (7200, event)], create=False)
    with Broker(broker.bootstrap).client(KafkaConsumer, group_id=None) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning()
        messages: list[Any] = []
        while len(messages) < 2 and time.time() < began + 60:
            messages += consumer.poll(timeout_ms=250).get(partition, [])
    assert [message.timestamp_type for message in messages] == [1, 1]
    assert all(began - 1 <= message.timestamp / 1000 <= time.time() + 1 for message in messages)


def test_the_topic_of_an_embedded_broker_has_no_limit_of_age(tmp_path: Path) -> None:
    """Its clock is the worker's, which may not be set yet."""
    with (
        embedded.broker(tmp_path, TOPIC) as server,
        Broker(server.bootstrap).client(KafkaAdminClient) as admin,
    ):
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)])
    settings = {name: entry["value"] for name, entry in described["topic"][TOPIC].items()}
    assert settings == {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
