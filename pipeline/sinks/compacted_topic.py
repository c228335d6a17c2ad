"""A compacted Kafka topic: the newest record of each key stays, and a reader finds the state of everything.

A record is placed by a key of its own where that is asked for: all records of one camera then share a partition, and
who reads that partition knows everything about the camera.

See :mod:`pipeline.sinks.latest_values` for a writer that never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.kafka_producer import close_producer, open_producer
from pipeline.sinks.topic_records import from_the_beginning, read_records

#: Headers of a record, as kafka-python has them.
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the topic.

    Attributes:
        value: None: a tombstone, which removes the key.
        published_at: by the broker's clock (UTC).
        headers: names and values.
    """

    key: str
    value: bytes | None
    partition: int
    offset: int
    published_at: datetime
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class NewRecord:
    """One record to publish.

    Attributes:
        value: None: a tombstone, which removes the key.
        partition_key: places the record; None: its key does.
        headers: names and values, beside the value.
    """

    key: str
    value: bytes | None
    partition_key: str | None = None
    headers: Headers = ()


class CompactedTopic:
    """One compacted topic. Its methods may be called on any thread.

    Args:
        topic: its name.
        partitions: their number where the topic is created here.
        create: create the topic where it is missing.
        request_timeout_seconds: for one answer of a broker.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        *,
        partitions: int,
        create: bool = True,
        request_timeout_seconds: float = 10.0,
    ) -> None:
        self.broker = broker
        self.topic = topic
        self._new_partitions = partitions
        self._create = create
        self._request_timeout_seconds = request_timeout_seconds
        self._sending = threading.Lock()  # held while the producer is used
        self._producer: KafkaProducer | None = None
        self._partitions: int | None = None

    def ensure(self) -> None:
        """Create the topic where it is missing.

        Raises:
            BrokerUnavailableError: the broker cannot be reached, the topic is missing and stays so, or it is not
                compacted.
        """
        self.broker.ensure_topic(self.topic, create=self._create, compacted_partitions=self._new_partitions)

    def connect(self, client_id: str) -> KafkaProducer:
        """Return a producer for the existing or new topic; close it with :func:`close_producer`.

        Raises:
            BrokerUnavailableError: as :meth:`ensure`.
        """
        self.ensure()
        return open_producer(self.broker, client_id, self._request_timeout_seconds)

    @property
    def partitions(self) -> int:
        """The topic's number of partitions, looked up once.

        Raises:
            BrokerUnavailableError: the broker cannot be reached, or the topic does not exist.
        """
        if self._partitions is None:
            consumer = self.broker.client(
                KafkaConsumer, group_id=None, metrics_enabled=False, allow_auto_create_topics=False
            )
            try:
                with self.broker.explained():
                    numbers = consumer.partitions_for_topic(self.topic)
            finally:
                consumer.close()
            if not numbers:
                raise BrokerUnavailableError(f"{self.broker}: topic {self.topic} does not exist")
            self._partitions = len(numbers)
        return self._partitions

    def partition_of(self, key: str) -> int:
        """Return the partition of a key, as every Kafka client chooses it. Raises as :attr:`partitions`."""
        return partition_of(key, self.partitions)

    def send_now(
        self, key: str, value: bytes | None, *, partition_key: str | None = None, headers: Headers = ()
    ) -> int:
        """Publish one record, and return its offset once every replica in sync has it.

        The offsets of a partition only grow: of two records of one partition, the later one has the higher offset.

        Raises:
            BrokerUnavailableError: it was not acknowledged. It may be on the topic nevertheless.
        """
        return self.send_all_now([NewRecord(key, value, partition_key, headers)])[0]

    def send_all_now(self, records: Sequence[NewRecord]) -> list[int]:
        """Publish records, and return the offset of each, as :meth:`send_now`. The connection stays for the next ones.

        Raises:
            BrokerUnavailableError: one was not acknowledged. Any of them may be on the topic nevertheless.
        """
        with self._sending, self.broker.explained():
            if self._producer is None:
                self._producer = self.connect("mistwatch-compacted")
            try:
                flights = [send(self._producer, self.topic, record) for record in records]
                limit = 2 * self._request_timeout_seconds
                return [flight.get(timeout=limit).offset for flight in flights]
            except KafkaError:
                failed, self._producer = self._producer, None
                close_producer(failed)
                raise

    def read(self, partitions: Collection[int] | None = None, *, start: int = 0) -> Iterator[Record]:
        """Yield all records that are on the topic now, tombstones and outdated ones included, as it holds them.

        Records without a key, which nothing of ours publishes, are left out.

        Args:
            partitions: numbers of those to read; None: all.
            start: offset in each of them of the first record to read.

        Raises:
            BrokerUnavailableError: the broker cannot be reached, or the topic or a partition does not exist.
        """

        def starts(consumer: KafkaConsumer, places: list[TopicPartition]) -> dict[TopicPartition, int]:
            return {place: max(oldest, start) for place, oldest in from_the_beginning(consumer, places).items()}

        found = read_records(
            self.broker,
            self.topic,
            client_id="mistwatch-compacted",
            starts=starts,
            partitions=partitions,
            compacted=True,
        )
        for record in found:
            if record.key is not None:
                yield record_of(record)

    def latest(self, partitions: Collection[int] | None = None) -> dict[str, Record]:
        """Return the newest record of each key that has one; a tombstone removes its key. Raises as :meth:`read`."""
        newest: dict[str, Record] = {}
        for record in self.read(partitions):
            known = newest.get(record.key)
            # Where partitions were added, a key may have records in two.
            if known is None or known.partition == record.partition or known.published_at <= record.published_at:
                newest[record.key] = record
        return {key: record for key, record in newest.items() if record.value is not None}

    def close(self, timeout: float | None = None) -> None:
        """Close the connection of :meth:`send_now`. The topic can be used again.

        Args:
            timeout: seconds to wait for a call that still uses it, for example at a frozen broker. The connection is
                then left to that call. None: however long it takes.
        """
        if not self._sending.acquire(timeout=-1 if timeout is None else timeout):
            return
        try:
            producer, self._producer = self._producer, None
            if producer is not None:
                close_producer(producer)
        finally:
            self._sending.release()


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key among so many: murmur2 of its bytes, as Kafka's own clients have it."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def send(producer: KafkaProducer, topic: str, record: NewRecord) -> Any:
    """Begin to publish one record. Returns kafka-python's future. Raises KafkaError."""
    partition = None
    if record.partition_key is not None:
        partition = partition_of(record.partition_key, len(producer.partitions_for(topic)))
    headers = list(record.headers) or None
    return producer.send(topic, key=record.key.encode(), value=record.value, partition=partition, headers=headers)


def record_of(record: Any) -> Record:
    """Return kafka-python's record as ours."""
    return Record(
        record.key.decode(errors="replace"),
        record.value,
        record.partition,
        record.offset,
        datetime.fromtimestamp(record.timestamp / 1000, UTC),
        tuple(record.headers or ()),
    )
