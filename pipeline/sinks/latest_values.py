"""A writer of a compacted topic that never makes its caller wait: the newest value of each key wins.

While the broker is away, a newer value replaces the waiting one, so memory is bounded by the number of keys. A value
whose acknowledgement was lost may be published again, in rare cases behind a newer one of its key; the next value
mends that.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError
from kafka.future import Future

from pipeline.sinks.compacted_topic import CompactedTopic, NewRecord, send
from pipeline.sinks.kafka_broker import BrokerUnavailableError
from pipeline.sinks.kafka_producer import PERMANENT_ERRORS, close_producer
from pipeline.sinks.kafka_security import reason_of

#: Between two attempts to connect, doubled from the first to the last.
_BACKOFF_SECONDS = (0.2, 2.0)
#: Records published at once.
_BATCH = 500
#: Limit for the acknowledgements of a batch, beside the client's own.
_ANSWER_SECONDS = 30.0
#: While waiting for an acknowledgement, the end of the thread is noticed within this time.
_POLL_SECONDS = 0.2
#: Added to the timeout of :meth:`LatestValues.stop`, for an answer that comes a little late.
_GRACE_SECONDS = 0.2


class LatestValues:
    """Publishes the newest value of each key, on a thread of its own.

    Args:
        topic: the topic; created where it is missing, as it says.
        name: of the thread.
        on_trouble: called with one line when nothing can be published, once for each reason.
        on_resumed: called when values are published, for the first time or again.
        on_refused: called with a key and one line when the broker will never take a value (it is too large); the value
            is discarded.

    The callbacks run on the writer's thread: they must be quick and must not raise.
    """

    def __init__(
        self,
        topic: CompactedTopic,
        *,
        name: str = "latest-values",
        on_trouble: Callable[[str], None] = lambda _line: None,
        on_resumed: Callable[[], None] = lambda: None,
        on_refused: Callable[[str, str], None] = lambda _key, _line: None,
    ) -> None:
        self._topic = topic
        self._on_trouble = on_trouble
        self._on_resumed = on_resumed
        self._on_refused = on_refused
        self._waiting: dict[str, NewRecord] = {}
        self._in_flight = 0
        self._changed = threading.Condition()  # guards the two above, and _stop_at
        self._stop_at: float | None = None  # on the monotonic clock
        self._outage: str | None = "not connected yet"  # the reason that was reported
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to publish. Returns at once, also when the broker is away."""
        self._thread.start()

    def put(self, key: str, value: bytes | None, *, partition_key: str | None = None) -> None:
        """Publish a value soon, in place of the one of this key that may still wait. Returns at once.

        Args:
            value: None: a tombstone, which removes the key.
            partition_key: places the record; None: its key does.
        """
        with self._changed:
            self._waiting.pop(key, None)  # the keys that waited longest go first
            self._waiting[key] = NewRecord(key, value, partition_key)
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything put so far is on the topic, for at most ``seconds``; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._in_flight, seconds)

    def stop(self, seconds: float = 2.0) -> bool:
        """Publish what waits for at most ``seconds``, and end. Return whether everything is on the topic."""
        with self._changed:
            self._stop_at = time.monotonic() + seconds
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds + _GRACE_SECONDS)
        with self._changed:
            return not self._waiting and not self._in_flight

    # -- on the writer's thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = _BACKOFF_SECONDS[0]
        while not self._is_over():
            producer: KafkaProducer | None = None
            try:
                producer = self._topic.connect("mistwatch-latest")
                backoff = _BACKOFF_SECONDS[0]
                with self._topic.broker.explained():
                    self._publish_all(producer)
            except BrokerUnavailableError as error:
                self._report_outage(str(error))
            except Exception as error:  # a bug, ours or the client's, must not end the publishing
                self._report_outage(f"{self._topic.broker}: {type(error).__name__}: {' '.join(str(error).split())}")
            finally:
                if producer is not None:
                    close_producer(producer)
            with self._changed:
                self._changed.wait_for(lambda: self._stop_at is not None and self._is_over(), self._limited(backoff))
            backoff = min(2 * backoff, _BACKOFF_SECONDS[1])

    def _publish_all(self, producer: KafkaProducer) -> None:
        """Publish until it is time to stop. Raises KafkaError when the producer is of no more use."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._stop_at is not None)
                if self._is_over():
                    return
                batch = [self._waiting.pop(key) for key in list(self._waiting)[:_BATCH]]
                self._in_flight = len(batch)
            unpublished = list(batch)
            try:
                self._publish(producer, batch, unpublished)
            finally:
                self._put_back(unpublished)
            if self._outage is not None:
                self._outage = None
                self._on_resumed()

    def _publish(self, producer: KafkaProducer, batch: list[NewRecord], unpublished: list[NewRecord]) -> None:
        """Publish a batch, and take from ``unpublished`` each record that is done with. Raises KafkaError."""
        flights = []
        for record in batch:
            try:
                flights.append((record, send(producer, self._topic.topic, record)))
            except PERMANENT_ERRORS as error:
                unpublished.remove(record)
                self._on_refused(record.key, reason_of(error))
        give_up_at = time.monotonic() + _ANSWER_SECONDS
        for record, flight in flights:
            self._wait_for(flight, give_up_at)
            if isinstance(flight.exception, PERMANENT_ERRORS):
                self._on_refused(record.key, reason_of(flight.exception))
            elif flight.failed():
                raise flight.exception
            unpublished.remove(record)

    def _wait_for(self, flight: Future, give_up_at: float) -> None:
        """Wait for an acknowledgement. Raises KafkaTimeoutError: none came in time, or the thread must end."""
        answered = threading.Event()
        flight.add_both(lambda *_: answered.set())
        while not answered.wait(_POLL_SECONDS):
            if time.monotonic() >= give_up_at or (self._stop_at is not None and time.monotonic() >= self._stop_at):
                raise KafkaTimeoutError("no acknowledgement in time")

    def _put_back(self, records: list[NewRecord]) -> None:
        """Let records wait again, but for those that a newer value has replaced."""
        with self._changed:
            self._in_flight = 0
            newer = self._waiting
            self._waiting = {record.key: record for record in records} | newer
            self._changed.notify_all()

    def _is_over(self) -> bool:
        """Return whether the thread must end: nothing waits any more, or its time is up."""
        if self._stop_at is None:
            return False
        return not self._waiting or time.monotonic() >= self._stop_at

    def _limited(self, seconds: float) -> float:
        """Return how long to wait for something that takes so many seconds, given when the thread must end."""
        left = math.inf if self._stop_at is None else max(self._stop_at - time.monotonic(), 0.0)
        return min(seconds, left)

    def _report_outage(self, reason: str) -> None:
        if reason != self._outage:
            self._outage = reason
            self._on_trouble(reason)
