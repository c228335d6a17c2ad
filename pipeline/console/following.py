"""Follows a topic for as long as the console runs, through outages of the broker, without a consumer group."""

from __future__ import annotations

import contextlib
import heapq
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline import logs
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError

_log = logs.get("console")

#: Longest wait of one poll; also the delay with which a stop is noticed.
_POLL_SECONDS = 0.25
#: After this silence the broker is asked whether it is still there.
_SILENCE_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
_RETRY_SECONDS = 1.0
#: Polls without a record, of a broker that answers, after which nothing older is to come.
_QUIET_POLLS = 8
#: New partitions are noticed after this time.
_METADATA_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """The state of the reading of one topic.

    Attributes:
        is_caught_up: everything that the topic held at the start was read.
        heard_at: when the broker last answered, on the monotonic clock; None: never.
        trouble: why the topic cannot be read now, in one line; None where it can.
        is_missing: the broker answers, and does not have the topic (yet).
        records: number of records so far.
    """

    topic: str
    is_caught_up: bool
    heard_at: float | None
    trouble: str | None
    records: int
    is_missing: bool = False

    def stale_seconds(self, now: float) -> float | None:
        """Return the age of what is known, seconds, on the monotonic clock; None where nothing was read yet."""
        return None if self.heard_at is None else max(0.0, now - self.heard_at)


class TopicFollower:
    """Reads one topic from its oldest record on, on a thread of its own, and goes on where it was after an outage.

    Args:
        take: called with each of kafka-python's records, in the order of a partition, on the follower's thread. What
            it raises is logged, and the next record follows.
        on_change: called when the topic becomes readable, unreadable, or is read to its end for the first time.
        newest: read at most so many of the newest records of each partition; None: all.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        take: Callable[[Any], None],
        *,
        on_change: Callable[[], None] = lambda: None,
        newest: int | None = None,
    ) -> None:
        self._broker = broker
        self.topic = topic
        self._take = take
        self._on_change = on_change
        self._newest = newest
        self._positions: dict[TopicPartition, int] = {}
        self._first_ends: dict[TopicPartition, int] | None = None  # what is to be read before it is caught up
        self._caught_up = False
        self._quiet_polls = 0  # in a row
        self._heard_at: float | None = None
        self._trouble: str | None = "not connected yet"
        self._is_missing = False
        self._records = 0
        self._failed_records = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"console {topic}", daemon=True)

    @property
    def freshness(self) -> Freshness:
        """The state of the reading."""
        return Freshness(self.topic, self._caught_up, self._heard_at, self._trouble, self._records, self._is_missing)

    def start(self) -> None:
        """Begin to read. Returns at once, also when the broker is away."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """End the reading soon. Returns at once."""
        self._stop.set()

    def stop(self, seconds: float = 5.0) -> None:
        """End the reading, within at most so many seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    # -- on the follower's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._consumer() as consumer:
                    self._follow(consumer)
            except BrokerUnavailableError as error:
                self._is_missing = self._is_missing and "does not exist yet" in str(error)
                self._set_trouble(str(error))
            except Exception as error:  # a bug, ours or the client's, must not leave the console blind
                _log.exception("a topic cannot be followed; this is a bug", topic=self.topic)
                self._set_trouble(f"{self.topic}: {type(error).__name__}; see the console's log")
            self._stop.wait(_RETRY_SECONDS)

    @contextlib.contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        consumer = self._broker.client(
            KafkaConsumer,
            client_id="mistwatch-console",
            group_id=None,
            metrics_enabled=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where retention has removed the position
            allow_auto_create_topics=False,
            metadata_max_age_ms=int(_METADATA_SECONDS * 1000),
            fetch_max_wait_ms=100,
        )
        try:
            with self._broker.explained():
                yield consumer
        finally:
            with contextlib.suppress(Exception):
                consumer.close()

    def _follow(self, consumer: KafkaConsumer) -> None:
        while not self._stop.is_set():
            readable = self._readable(consumer)
            if set(readable) != consumer.assignment():
                self._place(consumer, readable)
            batches = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
            if batches:
                self._hear()
                for record in heapq.merge(*batches.values(), key=lambda record: record.timestamp):
                    self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
                    self._give(record)
            elif time.monotonic() - (self._heard_at or 0.0) > _SILENCE_SECONDS or not self._caught_up:
                # The client does not report a broker that is gone; a request fails, also at a frozen one.
                consumer.end_offsets(readable, timeout_ms=int(_ANSWER_SECONDS * 1000))
                self._hear()
            self._check_caught_up(consumer, quiet=not batches)

    def _readable(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        """Return the partitions that can be read. Raises BrokerUnavailableError: the topic has none."""
        if not (numbers := consumer.partitions_for_topic(self.topic)):
            self._heard_at = time.monotonic()
            self._is_missing = self._caught_up = True
            raise BrokerUnavailableError(f"{self._broker}: topic {self.topic} does not exist yet")
        numbers = numbers - self._broker.partitions_without_leader(self.topic)
        if not numbers:
            raise BrokerUnavailableError(f"{self._broker}: no partition of topic {self.topic} has a leader")
        return [TopicPartition(self.topic, number) for number in sorted(numbers)]

    def _place(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        consumer.assign(partitions)
        begin, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        if self._first_ends is None:
            self._first_ends = dict(end)
        for partition in partitions:
            known = self._positions.get(partition)
            if known is None and self._newest is not None:
                known = end[partition] - self._newest
            elif known is not None and known > end[partition]:  # the topic was made again, or has lost its end
                known = begin[partition]
            position = max(begin[partition], known or 0)
            self._positions[partition] = position
            consumer.seek(partition, position)
        self._hear()

    def _give(self, record: Any) -> None:
        self._records += 1
        try:
            self._take(record)
        except Exception:
            self._failed_records += 1
            if self._failed_records == 1:  # one of many alike
                _log.exception("a record could not be used; this is a bug", topic=self.topic, offset=record.offset)

    def _check_caught_up(self, consumer: KafkaConsumer, *, quiet: bool) -> None:
        if self._caught_up or self._first_ends is None:
            return
        self._quiet_polls = self._quiet_polls + 1 if quiet else 0
        for partition, end in self._first_ends.items():
            if partition not in consumer.assignment():
                continue
            position = consumer.position(partition, timeout_ms=int(_ANSWER_SECONDS * 1000))
            # The broker may have removed the last records of a compacted topic.
            if (position is None or position < end) and self._quiet_polls < _QUIET_POLLS:
                return
        self._caught_up = True
        self._on_change()

    def _hear(self) -> None:
        self._heard_at = time.monotonic()
        self._is_missing = False
        if self._trouble is not None:
            self._trouble = None
            self._on_change()

    def _set_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            log = _log.info if self._is_missing else _log.warning
            log("topic cannot be read", topic=self.topic, reason=reason)
            self._on_change()


def published_at(record: Any) -> datetime:
    """Return the time at which the broker had a record (UTC)."""
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)
