"""Reads events back from the Kafka topic, without a consumer group and without committing anything."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition
from pydantic import ValidationError

from pipeline.alerts.describe import describe
from pipeline.alerts.reading import Event, read_event
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.since import offsets_since

#: Length of one poll of the topic, and so the delay with which ``stopped`` is noticed.
_POLL_SECONDS = 0.5
#: New partitions are noticed after this time.
_METADATA_SECONDS = 10.0
#: After this silence the broker may be gone, which the client does not report.
_SILENCE_SECONDS = 2.0
#: Limit for the answer of a broker that is asked whether it is still there.
_ANSWER_SECONDS = 3.0
_RETRY_SECONDS = 1.0
#: Seconds of the units of a time span.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TailListener(Protocol):
    """Callbacks of the reader, beside the events."""

    def listening(self) -> None:
        """The reader is connected and sees events that are published from now on."""

    def waiting(self, reason: str) -> None:
        """Nothing can be read at the moment. Called once for each reason; the reader keeps trying."""

    def foreign_message(self, where: str, count: int) -> None:
        """The message at ``where`` is not an event of a known type; ``count`` such messages so far."""


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """An event with the document it was read from."""

    event: Event
    document: dict[str, Any]

    def as_json(self) -> str:
        """Return the document in one line, including fields that a later version has added."""
        return json.dumps(self.document, ensure_ascii=True, separators=(",", ":"))

    def as_text(self) -> str:
        """Return one line for a person; see :func:`pipeline.alerts.describe.describe`."""
        return describe(self.event)


def parse_message(value: bytes | None) -> TopicEvent | None:
    """Return the event of a message's value, None where it is not an event of this version."""
    try:
        return TopicEvent(read_event(value or b""), json.loads(value or b""))
    except (ValidationError, ValueError, RecursionError):
        return None


class TopicReader:
    """Follows one topic from its end, or from a moment on, through outages of the broker.

    A camera's events come in the order of publishing. When partitions are added to the topic, a camera may move to
    another one. New partitions are therefore read only once the others have been read to the end that they had. This
    does not hold for partitions that were added before the reader started with ``since``: of these, messages that come
    in one poll (at most 500) are in the order of their times.

    Args:
        topic: its name; it may not exist yet.
        since: start with events published at or after this moment (UTC); None starts with new ones.
        resume: start from these offsets of partitions instead, and from the beginning of all others.
        stopped: called twice a second; the reading ends once it returns True.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        *,
        since: datetime | None = None,
        resume: Mapping[int, int] | None = None,
        listener: TailListener,
        stopped: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._since = since
        self._listener = listener
        self._stopped = stopped
        # Where another connection continues.
        self._positions = {TopicPartition(topic, number): offset for number, offset in (resume or {}).items()}
        self._topic_was_missing = resume is not None  # then everything on it is new
        self._began = datetime.now(UTC)
        self._older: set[int] = set()  # the partitions that the reader found at its start
        self._held: list[TopicPartition] = []  # new ones, not read until the others are at _held_until
        self._held_until: dict[TopicPartition, int] = {}
        self._outage: str | None = "not connected yet"
        self._foreign_messages = 0

    @property
    def positions(self) -> dict[int, int]:
        """Return the offset of each partition from which another reader continues after the latest yielded event."""
        return {partition.partition: offset for partition, offset in self._positions.items()}

    def events(self) -> Generator[TopicEvent]:
        """Yield events until ``stopped``; other messages are counted and left out."""
        while not self._stopped():
            try:
                with self._consumer() as consumer:
                    yield from self._read(consumer)
            except BrokerUnavailableError as error:
                self._report_outage(str(error))
                retry_at = time.monotonic() + _RETRY_SECONDS
                while time.monotonic() < retry_at and not self._stopped():
                    time.sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        consumer = self._broker.client(
            KafkaConsumer,
            client_id="mistwatch-tail",
            group_id=None,
            metrics_enabled=False,
            enable_auto_commit=False,
            # The broker may no longer have the position (retention, or it lost its end in a crash).
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            metadata_max_age_ms=int(_METADATA_SECONDS * 1000),
        )
        try:
            with self._broker.explained():
                self._place(consumer)
                yield consumer
        finally:
            with contextlib.suppress(Exception):
                consumer.close()

    def _place(self, consumer: KafkaConsumer) -> None:
        """Assign the partitions of the topic that have a leader, and seek to the position to read from in each."""
        if not (numbers := consumer.partitions_for_topic(self._topic)):
            self._topic_was_missing = True
            raise BrokerUnavailableError(f"{self._broker}: topic {self._topic} does not exist yet")
        if not (partitions := self._partitions(consumer)):
            raise BrokerUnavailableError(
                f"{self._broker}: no partition of topic {self._topic} has a leader; are the brokers that store it down?"
            )
        self._older = self._older or numbers
        consumer.assign(partitions)
        unknown = [partition for partition in partitions if partition not in self._positions]
        new = unknown + self._held
        known = [partition for partition in partitions if partition not in new]
        until = consumer.end_offsets(known) if known and new else {}
        self._positions |= self._starts(consumer, unknown)
        self._held, self._held_until = (new if until else []), until
        consumer.pause(*(partition for partition in self._held if partition in partitions))
        for partition in partitions:
            consumer.seek(partition, self._positions[partition])

    def _partitions(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        """Return the partitions that can be read, in order."""
        without_leader = self._broker.partitions_without_leader(self._topic)
        numbers = sorted(consumer.partitions_for_topic(self._topic) - without_leader)
        return [TopicPartition(self._topic, number) for number in numbers]

    def _starts(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the position from which each of these partitions is read."""
        younger = [each for each in partitions if self._topic_was_missing or each.partition not in self._older]
        older = [each for each in partitions if each not in younger]
        starts: dict[TopicPartition, int] = consumer.beginning_offsets(younger) if younger else {}
        if older and (self._since or self._positions):  # with positions, these had no leader at the start
            starts |= offsets_since(consumer, older, self._since or self._began)
        elif older:
            starts |= consumer.end_offsets(older)
        return starts

    def _read(self, consumer: KafkaConsumer) -> Iterator[TopicEvent]:
        self._report_listening()
        heard_at = time.monotonic()
        while not self._stopped():
            if self._partitions(consumer) != sorted(consumer.assignment()):
                self._place(consumer)
            self._release_held(consumer)
            batches = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
            if batches:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                # The client does not report a broker that is gone; a request fails, also at a frozen one.
                consumer.end_offsets(consumer.assignment(), timeout_ms=int(_ANSWER_SECONDS * 1000))
                heard_at = time.monotonic()
            # As close to the order of publishing as the partitions allow; each camera's own order is kept.
            for message in heapq.merge(*batches.values(), key=lambda message: message.timestamp):
                self._positions[TopicPartition(message.topic, message.partition)] = message.offset + 1
                if (read := self._parse(message)) is not None:
                    yield read

    def _release_held(self, consumer: KafkaConsumer) -> None:
        """Read new partitions once the others have been read to the end that they had."""
        if self._held and all(_is_read(consumer, partition, end) for partition, end in self._held_until.items()):
            consumer.resume(*(partition for partition in self._held if partition in consumer.assignment()))
            self._held = []

    def _parse(self, message: Any) -> TopicEvent | None:
        if (read := parse_message(message.value)) is None:
            self._foreign_messages += 1
            where = f"{self._topic}, partition {message.partition}, offset {message.offset}"
            self._listener.foreign_message(where, self._foreign_messages)
        return read

    def _report_listening(self) -> None:
        if self._outage is not None:
            self._outage = None
            self._listener.listening()

    def _report_outage(self, reason: str) -> None:
        if reason != self._outage:
            self._outage = reason
            self._listener.waiting(reason)


def _is_read(consumer: KafkaConsumer, partition: TopicPartition, end: int) -> bool:
    position = consumer.position(partition, timeout_ms=int(_ANSWER_SECONDS * 1000))
    return position is not None and position >= end  # None: it is being looked up


def parse_since(text: str, now: datetime) -> datetime:
    """Parse ``90s``, ``10m``, ``2h`` or ``1d`` before ``now``, or an ISO 8601 time (UTC unless it has an offset).

    Raises:
        ValueError: neither; the message says what was expected.
    """
    try:
        if span := re.fullmatch(r"(\d+)([smhd])", text):
            return now - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"expected a span like 10m or an ISO 8601 time, got {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
