"""Reads the records of a topic, or of some of its partitions, to the end that they have now."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Callable, Collection, Generator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError

_POLL_SECONDS = 0.25
#: Without a record for this time, although some are missing, the broker may have stopped answering.
_SILENCE_SECONDS = 15.0
#: The same for a compacted topic, at whose end nothing may be left of what was published.
_COMPACTED_SILENCE_SECONDS = 3.0
#: Limit for the answer of a broker that is asked for a position.
_ANSWER_SECONDS = 3.0

#: Returns the offset at which the reading of each partition starts.
Starts = Callable[[KafkaConsumer, list[TopicPartition]], dict[TopicPartition, int]]


def from_the_beginning(consumer: KafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the oldest offset of each partition; see :data:`Starts`."""
    found: dict[TopicPartition, int] = consumer.beginning_offsets(partitions)
    return found


def read_records(
    broker: Broker,
    topic: str,
    *,
    client_id: str,
    starts: Starts = from_the_beginning,
    partitions: Collection[int] | None = None,
    compacted: bool = False,
) -> Generator[Any]:
    """Yield kafka-python's records that the partitions hold now, in each partition in their order.

    Records of different partitions that come in one answer are in the order of their times. It needs no
    consumer group and commits nothing.

    Args:
        starts: returns where to start.
        partitions: numbers of those to read; None: all.
        compacted: the broker may have removed the last records. The reading then ends where it gives no more, though
            it still answers.

    Raises:
        BrokerUnavailableError: the broker cannot be reached, the topic or a partition does not exist or cannot be read.
            The records so far are not all.
    """
    consumer = broker.client(
        KafkaConsumer,
        client_id=client_id,
        group_id=None,
        metrics_enabled=False,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # where retention removes records meanwhile
        allow_auto_create_topics=False,
    )
    try:
        with broker.explained():
            chosen = _existing(consumer, broker, topic, partitions)
            if chosen:
                yield from _read(consumer, broker, topic, chosen, starts, compacted=compacted)
    finally:
        with contextlib.suppress(Exception):
            consumer.close()


def _existing(
    consumer: KafkaConsumer, broker: Broker, topic: str, partitions: Collection[int] | None
) -> list[TopicPartition]:
    if not (numbers := consumer.partitions_for_topic(topic)):
        raise BrokerUnavailableError(f"{broker}: topic {topic} does not exist")
    wanted = set(numbers if partitions is None else partitions)
    if absent := wanted - numbers:
        raise BrokerUnavailableError(
            f"{broker}: topic {topic} has {len(numbers)} partitions, so not number {max(absent)}"
        )
    if leaderless := broker.partitions_without_leader(topic) & wanted:
        raise BrokerUnavailableError(
            f"{broker}: {len(leaderless)} of {len(numbers)} partitions of topic {topic} have no leader; are the "
            "brokers that store them down?"
        )
    return [TopicPartition(topic, number) for number in sorted(wanted)]


def _read(
    consumer: KafkaConsumer,
    broker: Broker,
    topic: str,
    partitions: list[TopicPartition],
    starts: Starts,
    *,
    compacted: bool,
) -> Generator[Any]:
    consumer.assign(partitions)
    begin = starts(consumer, partitions)
    for partition in partitions:
        consumer.seek(partition, begin[partition])
    ends = {each: end for each, end in consumer.end_offsets(partitions).items() if end > begin[each]}
    patience = _COMPACTED_SILENCE_SECONDS if compacted else _SILENCE_SECONDS
    heard_at = time.monotonic()
    while ends:
        batches = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
        for record in heapq.merge(*batches.values(), key=lambda record: record.timestamp):
            if record.offset < ends.get(TopicPartition(topic, record.partition), 0):  # else published meanwhile
                yield record
        if batches:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > patience:
            if not compacted:
                raise BrokerUnavailableError(f"{broker}: has stopped answering before the end of topic {topic}")
            # The leader of each partition answers this; a frozen one does not.
            consumer.end_offsets(list(ends), timeout_ms=int(_ANSWER_SECONDS * 1000))
            return
        for partition, end in list(ends.items()):
            position = consumer.position(partition, timeout_ms=int(_ANSWER_SECONDS * 1000))
            if position is not None and position >= end:  # None: it is being looked up
                del ends[partition]
