"""Reads alert events back from the topic, for a person or a script: no group, no commit, nothing is changed."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition
from pydantic import ValidationError

from pipeline.alerts.event import AlertEvent
from pipeline.printable import printable
from pipeline.sinks.connection import Broker, BrokerUnavailableError

#: How long one look at the topic may last, and so how late ``stopped`` is noticed.
_POLL_SECONDS = 0.25
#: A topic that is silent for so long may be a broker that is gone: the client does not tell.
_SILENCE_SECONDS = 2.0
#: For the broker's answer to the question whether it is still there.
_ANSWER_SECONDS = 3.0
_RETRY_SECONDS = 1.0
#: Units of a span of time before now.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TailListener(Protocol):
    """What the reader tells beside the events."""

    def listening(self) -> None:
        """Connected: events published from now on are seen."""

    def waiting(self, reason: str) -> None:
        """Nothing can be read at the moment. Said once for each reason; the reader goes on trying."""

    def no_event(self, where: str, count: int) -> None:
        """The message at ``where`` is no alert event, the ``count``-th such message."""


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """An event with the document it was read from."""

    event: AlertEvent
    document: dict[str, Any]

    def as_json(self) -> str:
        """The document in one line, with whatever a later version may have added to it."""
        return json.dumps(self.document, ensure_ascii=True, separators=(",", ":"))

    def as_text(self) -> str:
        """One line for a person; see :func:`describe`."""
        return describe(self.event)


class TopicReader:
    """Follows one topic from its end, or from a moment on, through outages of the broker.

    Args:
        broker: where to read.
        topic: what to read; it may not exist yet.
        since: start with what was published at or after this moment (UTC) instead of with what comes.
        listener: is told what happens.
        stopped: asked a few times a second; ends the reading when it says so.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        *,
        since: datetime | None,
        listener: TailListener,
        stopped: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._since = since
        self._listener = listener
        self._stopped = stopped
        self._positions: dict[TopicPartition, int] = {}  # where to go on with another connection
        self._trouble: str | None = "not connected yet"
        self._no_events = 0

    def events(self) -> Iterator[TopicEvent]:
        """Yield events until ``stopped``; what is no alert event is counted and left out."""
        while not self._stopped():
            try:
                with self._consumer() as consumer:
                    yield from self._read(consumer)
            except BrokerUnavailableError as error:
                self._tell_waiting(str(error))
                retry_at = time.monotonic() + _RETRY_SECONDS
                while time.monotonic() < retry_at and not self._stopped():
                    time.sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        consumer = self._broker.client(
            KafkaConsumer,
            client_id="mistwatch-tail",
            group_id=None,
            enable_auto_commit=False,
            # Where the broker no longer has the position (retention, or it lost its end in a crash): what it has.
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
        )
        try:
            with self._broker.explained():
                self._place(consumer)
                yield consumer
        finally:
            with contextlib.suppress(Exception):
                consumer.close()

    def _place(self, consumer: KafkaConsumer) -> None:
        """Take all partitions of the topic and the place in each to read from."""
        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:
            raise BrokerUnavailableError(f"{self._broker}: topic {self._topic} does not exist yet")
        partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found = {}
        if self._since is not None:
            found = consumer.offsets_for_times(dict.fromkeys(partitions, int(self._since.timestamp() * 1000)))
        for partition in partitions:
            known = found.get(partition)
            self._positions.setdefault(partition, ends[partition] if known is None else known.offset)
            consumer.seek(partition, self._positions[partition])

    def _read(self, consumer: KafkaConsumer) -> Iterator[TopicEvent]:
        self._tell_listening()
        heard_at = time.monotonic()
        while not self._stopped():
            batches = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000))
            if batches:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                # The client is silent about a broker that is gone. A real question tells, also of a frozen one.
                consumer.end_offsets(consumer.assignment(), timeout_ms=int(_ANSWER_SECONDS * 1000))
                heard_at = time.monotonic()
            # As near to the order of publishing as the partitions allow, each camera's own order kept.
            for message in heapq.merge(*batches.values(), key=lambda message: message.timestamp):
                self._positions[TopicPartition(message.topic, message.partition)] = message.offset + 1
                if (read := self._parsed(message)) is not None:
                    yield read

    def _parsed(self, message: Any) -> TopicEvent | None:
        try:
            document = json.loads(message.value)
            return TopicEvent(AlertEvent.model_validate_json(message.value), document)
        except (ValidationError, ValueError, TypeError, RecursionError):  # TypeError: a message without a value
            self._no_events += 1
            where = f"{self._topic}, partition {message.partition}, offset {message.offset}"
            self._listener.no_event(where, self._no_events)
            return None

    def _tell_listening(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._listener.listening()

    def _tell_waiting(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            self._listener.waiting(reason)


def describe(event: AlertEvent) -> str:
    """One line for a person. Whatever a terminal would interpret is escaped: the topic is not ours alone."""
    data = event.data
    peak = f"peak {data.peak.smoothed_score:.3f} at {_clock(data.peak.started_pts_seconds)}"
    shown = [
        f"{event.time:%Y-%m-%d %H:%M:%S}Z" if event.time else "(no wall clock)".ljust(20),
        f"{_clock(data.started_pts_seconds)}-{_clock(_latest_pts(event))}",
        data.camera,
        data.state.upper().ljust(6),
        f"{peak} (opens at {data.threshold:g})",
    ]
    if data.end_reason is not None:
        shown.append(f"ended: {data.end_reason}")
    shown += data.evidence
    return printable("  ".join(shown))


def _latest_pts(event: AlertEvent) -> float:
    data = event.data
    if data.ended_pts_seconds is not None:
        return data.ended_pts_seconds
    return max((score.ended_pts_seconds for score in data.scores), default=data.peak.ended_pts_seconds)


def _clock(seconds: float) -> str:
    """Seconds of a stream's clock as people read them: ``1:02:03.4``."""
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest / 10:04.1f}"


def parse_since(text: str, now: datetime) -> datetime:
    """``90s``, ``10m``, ``2h`` or ``1d`` before ``now``, or an ISO 8601 time, in UTC unless it says otherwise.

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
