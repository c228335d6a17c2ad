"""From the outbox to the Kafka topic: at least once, in order within a camera, whatever dies in between.

Two findings shape this relay (kafka-python 3.0.12). With an idempotent producer, a record that expires in flight at a
frozen broker wedges the producer for good: so idempotence is off, and a producer that failed is thrown away. And a
producer may put a later record on the topic after an earlier one has expired: so an event is only sent once every
earlier event of its camera has been acknowledged.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError
from kafka.future import Future

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox, OutboxError
from pipeline.sinks.connection import Broker, BrokerUnavailableError, KafkaSecurity, KafkaSecurityError, reason_of

__all__ = ["DEFAULT_TOPIC", "KafkaRelay", "KafkaSecurity", "KafkaSecurityError", "RelayListener", "SilentListener"]

DEFAULT_TOPIC = "mistwatch.alerts"

#: What every message carries beside the event's own ``id`` and ``type``.
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"

#: Between two attempts to reach a broker, doubled from the first to the last.
_BACKOFF_SECONDS = (0.2, 1.0)
#: Without an acknowledgement after this time the operator is told; the relay goes on waiting.
_SLOW_SECONDS = 3.0
#: A thread that waits for an acknowledgement looks this often whether it is to stop.
_LOOK_SECONDS = 0.2
#: Events read from the outbox at once.
_BATCH = 500

#: The broker will give the same answer for ever.
_NEVER = (MessageSizeTooLargeError, RecordListTooLargeError)


class RelayListener(Protocol):
    """What the relay tells. Called on the relay's thread: be quick and do not raise."""

    def published(self, event: AlertEvent, delay_seconds: float | None) -> None:
        """The topic has the event, ``delay_seconds`` after its last frame was received (None where unknown)."""

    def waiting(self, reason: str) -> None:
        """Nothing can be published at the moment. Said once for each reason; the relay goes on trying."""

    def resumed(self) -> None:
        """The topic can be written: for the first time, or again."""

    def failed(self, event: AlertEvent, reason: str) -> None:
        """The broker will never take this event; it stays in the outbox's file, set aside."""


class SilentListener:
    """Listens to nothing; a base for listeners that care for some of it."""

    def published(self, event: AlertEvent, delay_seconds: float | None) -> None: ...

    def waiting(self, reason: str) -> None: ...

    def resumed(self) -> None: ...

    def failed(self, event: AlertEvent, reason: str) -> None: ...


class KafkaRelay:
    """Publishes what the outbox holds, on a thread of its own, until it is stopped.

    It sends at most one event of each camera at a time and waits for the acknowledgements, so a camera's events reach
    the topic in order. A repetition after a failure may come after later events; its id tells.

    Args:
        outbox: where the events come from.
        bootstrap: ``HOST:PORT[,HOST:PORT…]`` of brokers.
        topic: created when missing, if ``create_topic`` and the broker allow it.
        security: how to authenticate; by default as the environment says.
        listener: is told what happens.
        request_timeout_seconds: for one answer of a broker; an event without an answer for twice this time is sent
            again over a new connection.

    Raises:
        KafkaSecurityError: a file of ``security`` cannot be used.
        ValueError: ``bootstrap`` is not of the form above.
    """

    def __init__(
        self,
        outbox: Outbox,
        bootstrap: str,
        topic: str = DEFAULT_TOPIC,
        *,
        create_topic: bool = True,
        security: KafkaSecurity | None = None,
        listener: RelayListener | None = None,
        request_timeout_seconds: float = 10.0,
    ) -> None:
        self._outbox = outbox
        self._broker = Broker(bootstrap, security)
        self._topic = topic
        self._create_topic = create_topic
        self._listener = listener or SilentListener()
        self._request_timeout = request_timeout_seconds
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._stop_at = math.inf  # on the monotonic clock; set by stop()
        self._trouble: str | None = "not connected yet"
        self._acknowledged: list[tuple[AlertEvent, datetime]] = []  # on the topic, and when; still in the outbox
        self._thread = threading.Thread(target=self._run, name="kafka-relay", daemon=True)

    def start(self) -> None:
        """Begin to publish. Returns at once, also when no broker is there."""
        self._thread.start()

    def notify(self) -> None:
        """The outbox has accepted something: publish it now rather than within a second."""
        self._news.set()

    def stop(self, timeout: float = 5.0) -> int:
        """Publish what is pending, for at most ``timeout`` seconds, and end.

        Returns:
            how many events stay in the outbox; the next run over it publishes them.
        """
        self._stop_at = time.monotonic() + timeout
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout + _LOOK_SECONDS)
        return self._outbox.depth()

    def __enter__(self) -> KafkaRelay:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- on the relay's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = _BACKOFF_SECONDS[0]
        while not self._late():
            try:
                if self._stopping.is_set() and self._outbox.depth() == 0:
                    return
                with self._producer() as producer:
                    backoff = _BACKOFF_SECONDS[0]
                    self._publish_all(producer)
                    return
            except (BrokerUnavailableError, OutboxError) as error:
                self._tell_waiting(str(error))
            except Exception as error:  # a bug, ours or the client's, must not end the delivery of alerts
                self._tell_waiting(f"{self._broker}: {type(error).__name__}: {reason_of(error)}")
            if not self._stopping.wait(backoff):
                backoff = min(2 * backoff, _BACKOFF_SECONDS[1])
            else:
                time.sleep(_BACKOFF_SECONDS[0])

    @contextlib.contextmanager
    def _producer(self) -> Iterator[KafkaProducer]:
        self._broker.ensure_topic(self._topic, create=self._create_topic)
        timeout_ms = int(self._request_timeout * 1000)
        producer = self._broker.client(
            KafkaProducer,
            client_id="mistwatch-relay",
            acks="all",
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            request_timeout_ms=timeout_ms,
            delivery_timeout_ms=2 * timeout_ms,
            max_block_ms=timeout_ms,
            allow_auto_create_topics=False,
        )
        try:
            yield producer
        finally:
            _close(producer)

    def _publish_all(self, producer: KafkaProducer) -> None:
        """Publish until it is time to stop. Raises BrokerUnavailableError when the producer is of no more use."""
        while True:
            self._settle()
            self._news.clear()  # before reading: nothing accepted meanwhile is overlooked
            pending = self._outbox.pending(_BATCH)
            for events in one_of_each_camera(pending):
                if self._late():
                    return
                self._publish(producer, events)
            if not pending:
                self._tell_resumed()
                if self._stopping.is_set():
                    return
                self._news.wait(1.0)

    def _publish(self, producer: KafkaProducer, events: list[AlertEvent]) -> None:
        """Send one event of each camera, wait for the acknowledgements, note them."""
        now = datetime.now(UTC)
        told = [event.published(now) for event in events]
        flights = [(event, self._send(producer, event)) for event in told]
        trouble: KafkaError | None = None
        for event, flight in flights:
            try:
                self._await(flight)
            except _NEVER as error:
                self._outbox.refuse(event.id, reason_of(error))
                self._listener.failed(event, f"{self._broker} refuses it for ever: {reason_of(error)}")
            except KafkaError as error:
                trouble = error
            else:
                self._acknowledged.append((event, datetime.now(UTC)))
        self._settle()
        if trouble is not None:
            late = isinstance(trouble, KafkaTimeoutError)
            why = "no acknowledgement in time, sending again" if late else reason_of(trouble)
            raise BrokerUnavailableError(f"{self._broker}: {why}")
        self._tell_resumed()

    def _settle(self) -> None:
        """Forget what the topic has, before anything else is sent.

        Raises:
            OutboxError: the outbox cannot be written (its disk is full). The same events would be sent for ever.
        """
        self._outbox.delivered(event.id for event, _ in self._acknowledged)
        acknowledged, self._acknowledged = self._acknowledged, []
        for event, at in acknowledged:
            captured_at = event.data.captured_at
            self._listener.published(event, (at - captured_at).total_seconds() if captured_at else None)

    def _send(self, producer: KafkaProducer, event: AlertEvent) -> Future:
        headers = [("content-type", CONTENT_TYPE), ("ce_id", event.id.encode()), ("ce_type", event.type.encode())]
        try:
            return producer.send(self._topic, key=event.subject.encode(), value=event.to_json(), headers=headers)
        except KafkaError as error:
            return Future().failure(error)

    def _await(self, flight: Future) -> None:
        """Return when the broker has acknowledged; raises the KafkaError that the flight ended with."""
        answered = threading.Event()
        flight.add_both(lambda *_: answered.set())
        sent_at = time.monotonic()
        told = False
        while not answered.wait(_LOOK_SECONDS):
            waited = time.monotonic() - sent_at
            # The client gives up after twice the request timeout; the rest is for the case that it does not.
            if self._late() or waited > 3 * self._request_timeout:
                raise KafkaTimeoutError(f"no acknowledgement for {waited:.0f} s")
            if waited > _SLOW_SECONDS and not told:
                told = True
                self._tell_waiting(self._why_silent())
        if flight.failed():
            raise flight.exception

    def _why_silent(self) -> str:
        try:
            self._broker.check_listening()
        except BrokerUnavailableError as error:
            return str(error)
        return f"{self._broker}: accepts connections but acknowledges nothing"

    def _late(self) -> bool:
        return time.monotonic() >= self._stop_at

    def _tell_waiting(self, reason: str) -> None:
        if reason != self._trouble and not self._late():
            self._trouble = reason
            self._listener.waiting(reason)

    def _tell_resumed(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._listener.resumed()


def one_of_each_camera(pending: Iterable[AlertEvent]) -> Iterator[list[AlertEvent]]:
    """Rounds of at most one event of each camera, each camera's in the order in which they came."""
    cameras: dict[str, list[AlertEvent]] = {}
    for event in pending:
        cameras.setdefault(event.subject, []).append(event)
    for events in itertools.zip_longest(*cameras.values()):
        yield [event for event in events if event is not None]


def _close(producer: KafkaProducer) -> None:
    """Close it for good: with a record in flight, ``close`` raises and leaves a thread that reconnects for ever."""
    try:
        producer.close(timeout=1)
    except KafkaError:
        producer._sender.force_close()
