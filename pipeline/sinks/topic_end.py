"""Reads the events of a topic from its beginning, or from a moment on, to the end that it has now."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition

from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.since import offsets_since
from pipeline.sinks.tail import TopicEvent, parse_message
from pipeline.sinks.topic_records import from_the_beginning, read_records


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

    def starts(consumer: KafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int]
        found = (
            from_the_beginning(consumer, partitions) if since is None else offsets_since(consumer, partitions, since)
        )
        return found

    foreign = 0
    for record in read_records(broker, topic, client_id="mistwatch-history", starts=starts):
        if (read := parse_message(record.value)) is not None:
            yield read
        else:
            foreign += 1
            on_foreign(f"{topic}, partition {record.partition}, offset {record.offset}", foreign)
