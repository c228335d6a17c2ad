"""The place in a topic from which the events since a moment are read, also where a clock was set meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from pipeline.clocks import UNSET_BEFORE

#: So many messages before the place are looked at; alerts are rare. Each is at most 1 MB.
_LOOK_BACK = 500
_POLL_SECONDS = 0.25
#: Limit for reading them.
_READ_SECONDS = 10.0


def offsets_since(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], since: datetime
) -> dict[TopicPartition, int]:
    """Return each partition's first offset that was published at or after ``since``; its end where nothing was.

    Messages right before it that bear the time of a clock that was never set (1970) are taken too: they were published
    by a worker, or on a topic, whose clock was set between them and what follows.

    Args:
        consumer: its assignment stays, its positions do not.

    Raises:
        KafkaError: the broker does not answer.
    """
    moment = int(since.timestamp() * 1000)
    # The ends first: a message that is published between the two questions must not be skipped.
    starts: dict[TopicPartition, int] = consumer.end_offsets(list(partitions))
    found = consumer.offsets_for_times(dict.fromkeys(partitions, moment))
    starts |= {partition: place.offset for partition, place in found.items() if place is not None}
    assigned = consumer.assignment()
    begins = consumer.beginning_offsets(list(partitions))
    for partition in partitions:
        first = max(begins[partition], starts[partition] - _LOOK_BACK)
        if first < starts[partition]:
            starts[partition] = _before_unset(consumer, partition, first, starts[partition])
    consumer.assign(list(assigned))
    return starts


def _before_unset(consumer: KafkaConsumer, partition: TopicPartition, first: int, end: int) -> int:
    """Return the offset of the first of the messages right before ``end``, none before ``first``, of an unset clock."""
    consumer.assign([partition])
    consumer.seek(partition, first)
    unset, start = int(UNSET_BEFORE.timestamp() * 1000), end
    give_up_at = time.monotonic() + _READ_SECONDS
    while consumer.position(partition) < end:
        if time.monotonic() >= give_up_at:
            raise KafkaTimeoutError(f"{partition.topic}: no answer within {_READ_SECONDS:g} s")
        for message in consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000)).get(partition, []):
            if message.offset < end:
                start = end if message.timestamp >= unset else min(start, message.offset)
    return start
