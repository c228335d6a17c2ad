"""Reads a topic from its beginning, or from a moment on, to the end that it has now."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Callable, Generator
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition

from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.since import offsets_since
from pipeline.sinks.tail import TopicEvent, parse_message

_POLL_SECONDS = 0.25
#: Without a message for this time, although some are missing, the broker has stopped answering.
_SILENCE_SECONDS = 15.0
#: Limit for the answer of a broker that is asked for a position.
_ANSWER_SECONDS = 3.0


def read_to_end(
    broker: Broker,
    topic: str,
    *,
    since: datetime | None = None,
    on_foreign: Callable[[str, int], None] = lambda _where, _count: None,
) -> Generator[TopicEvent]:
    """Yield the events that the topic holds now; without a consumer group, and without committing anything.

    A camera's events come in the order of publishing, unless partitions were added to the topic.

    Args:
        since: start with events published at or after this moment (UTC); None: with the oldest.
        on_foreign: called with the place of a message that is not an event of this version, and their count so far.

    Raises:
        BrokerUnavailableError: the broker cannot be reached, the topic does not exist, or a partition of it cannot be
            read. The events so far are not all.
    """
    consumer = broker.client(
        KafkaConsumer,
        client_id="mistwatch-history",
        group_id=None,
        metrics_enabled=False,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # where retention removes messages meanwhile
        allow_auto_create_topics=False,
    )
    try:
        with broker.explained():
            yield from _read(consumer, broker, topic, since, on_foreign)
    finally:
        with contextlib.suppress(Exception):
            consumer.close()


def _read(
    consumer: KafkaConsumer, broker: Broker, topic: str, since: datetime | None, on_foreign: Callable[[str, int], None]
) -> Generator[TopicEvent]:
    if not (numbers := consumer.partitions_for_topic(topic)):
        raise BrokerUnavailableError(f"{broker}: topic {topic} does not exist")
    if missing := broker.partitions_without_leader(topic):
        raise BrokerUnavailableError(
            f"{broker}: {len(missing)} of {len(numbers)} partitions of topic {topic} have no leader; are the brokers "
            "that store them down?"
        )
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    starts = consumer.beginning_offsets(partitions) if since is None else offsets_since(consumer, partitions, since)
    for partition in partitions:
        consumer.seek(partition, starts[partition])
    ends = {each: end for each, end in consumer.end_offsets(partitions).items() if end > starts[each]}
    foreign, heard_at = 0, time.monotonic()
    while ends:
        batches = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
        for message in heapq.merge(*batches.values(), key=lambda message: message.timestamp):
            if message.offset >= ends.get(TopicPartition(topic, message.partition), 0):
                continue  # published meanwhile
            if (read := parse_message(message.value)) is not None:
                yield read
            else:
                foreign += 1
                on_foreign(f"{topic}, partition {message.partition}, offset {message.offset}", foreign)
        if batches:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > _SILENCE_SECONDS:
            raise BrokerUnavailableError(f"{broker}: has stopped answering before the end of topic {topic}")
        for partition, end in list(ends.items()):
            position = consumer.position(partition, timeout_ms=int(_ANSWER_SECONDS * 1000))
            if position is not None and position >= end:  # None: it is being looked up
                del ends[partition]
