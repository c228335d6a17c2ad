"""The Kafka topic as a sink: the topic's creation, and the meaning of the broker's errors."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, RequestTimedOutError
from kafka.future import Future

from pipeline.alerts.cloud_event import CloudEvent
from pipeline.sinks.base import Delivery, KeepWaiting, Verdict
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError
from pipeline.sinks.kafka_producer import PERMANENT_ERRORS, close_producer, open_producer
from pipeline.sinks.kafka_security import KafkaSecurity, reason_of

DEFAULT_TOPIC = "mistwatch.alerts"

#: A header of every message, beside the event's own ``id`` and ``type``.
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"

#: While waiting for an acknowledgement, ``keep_waiting`` is called this often.
_POLL_SECONDS = 0.2


class KafkaDestination(Protocol):
    """The part of the settings that names a topic; see :class:`KafkaSink`."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def create_topic(self) -> bool: ...
    @property
    def security(self) -> KafkaSecurity: ...


class DeadLetterDestination(KafkaDestination, Protocol):
    """The part of the settings that names a topic and its dead-letter topic."""

    @property
    def dead_topic(self) -> str | None: ...


class KafkaSink:
    """A topic that receives each event as one message: key the camera, value the JSON document.

    Args:
        bootstrap: ``HOST:PORT[,HOST:PORT…]`` of brokers.
        topic: created when missing, if ``create_topic`` and the broker allow it.
        security: how to authenticate; by default from the environment.
        request_timeout_seconds: for one answer of a broker; an event without an answer for this time is to be sent
            again over a new connection.

    Raises:
        KafkaSecurityError: a file of ``security`` cannot be used.
        BrokerAddressError: ``bootstrap`` has another form.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str = DEFAULT_TOPIC,
        *,
        create_topic: bool = True,
        security: KafkaSecurity | None = None,
        request_timeout_seconds: float = 10.0,
    ) -> None:
        self._broker = Broker(bootstrap, security)
        self._topic = topic
        self._create_topic = create_topic
        self._request_timeout_seconds = request_timeout_seconds
        self._producer: KafkaProducer | None = None
        self._unreachable: str | None = None  # brokers that were looked for in vain during the current send

    @classmethod
    def from_settings(cls, settings: KafkaDestination) -> KafkaSink:
        """Make the sink of a site's ``kafka:`` settings. Raises as the class does."""
        return cls(settings.bootstrap, settings.topic, create_topic=settings.create_topic, security=settings.security)

    @classmethod
    def for_dead_letters(cls, settings: DeadLetterDestination) -> KafkaSink:
        """Make the sink of the dead-letter topic beside the site's topic. Raises as the class does."""
        topic = settings.dead_topic or f"{settings.topic}.dead"
        return cls(settings.bootstrap, topic, create_topic=settings.create_topic, security=settings.security)

    @contextlib.contextmanager
    def connect(self) -> Iterator[None]:
        """See :class:`pipeline.sinks.base.Sink`. Raises BrokerUnavailableError."""
        self._broker.ensure_topic(self._topic, create=self._create_topic)
        self._producer = open_producer(self._broker, "mistwatch-relay", self._request_timeout_seconds)
        try:
            yield
        finally:
            producer, self._producer = self._producer, None
            close_producer(producer)

    def send(self, events: Sequence[CloudEvent], keep_waiting: KeepWaiting) -> list[Delivery]:
        """See :class:`pipeline.sinks.base.Sink`."""
        self._unreachable = None
        deadline = time.monotonic() + 2 * self._request_timeout_seconds
        flights = [self._begin(event) for event in events]
        return [self._result(flight, deadline, keep_waiting) for flight in flights]

    def _begin(self, event: CloudEvent) -> Future:
        assert self._producer is not None, "send() is called inside connect()"
        headers = [("content-type", CONTENT_TYPE), ("ce_id", event.id.encode()), ("ce_type", event.type.encode())]
        try:
            return self._producer.send(self._topic, key=event.subject.encode(), value=event.to_json(), headers=headers)
        except KafkaError as error:
            return Future().failure(error)

    def _result(self, flight: Future, deadline: float, keep_waiting: KeepWaiting) -> Delivery:
        """Wait for one acknowledgement.

        Args:
            deadline: on the monotonic clock. The client gives up after the request timeout; this is for the case that
                it does not.
            keep_waiting: see :data:`pipeline.sinks.base.KeepWaiting`.
        """
        answered = threading.Event()
        flight.add_both(lambda *_: answered.set())
        while not answered.is_set() and time.monotonic() < deadline and keep_waiting(self._explain_silence):
            answered.wait(_POLL_SECONDS)
        error = flight.exception if flight.failed() else None
        if not answered.is_set() or isinstance(error, KafkaTimeoutError | RequestTimedOutError):
            return Delivery(
                Verdict.RETRY, self._unreachable or "no acknowledgement in time, sending again over a new connection"
            )
        if error is None:
            return Delivery(Verdict.ACKNOWLEDGED)
        return Delivery(Verdict.NEVER if isinstance(error, PERMANENT_ERRORS) else Verdict.RETRY, reason_of(error))

    def _explain_silence(self) -> str:
        try:
            self._broker.check_listening()
        except BrokerUnavailableError as error:
            return str(error)
        self._unreachable = self._broker.describe_unreachable()
        return f"{self._broker}: {self._unreachable or 'accepts connections but acknowledges nothing'}"

    def __str__(self) -> str:
        return str(self._broker)
