"""From the outbox to one sink: at least once, in order within a camera, whatever dies in between.

A sink may deliver a later event after an earlier one has failed (Kafka's producer does). The relay therefore sends an
event only once every earlier event of its camera has been acknowledged or set aside.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from pipeline.alerts.deliveries import Deliveries
from pipeline.alerts.outbox import OutboxError
from pipeline.alerts.reading import Event
from pipeline.sinks.base import Delivery, Sink, SinkUnavailableError, Verdict

#: Between two attempts to connect or to send, doubled from the first to the last.
_BACKOFF_SECONDS = (0.2, 1.0)
#: A send without an answer is reported to the operator after this time; the relay keeps waiting.
_SLOW_SECONDS = 3.0
#: An idle relay reads the outbox this often, also without :meth:`Relay.notify`.
_IDLE_SECONDS = 1.0
#: Added to the timeout of :meth:`Relay.stop`, for a sink that notices the end a little late.
_GRACE_SECONDS = 0.2
#: Events read from the outbox at once.
_BATCH = 500


class RelayListener:
    """Callbacks of a relay, all empty; override the ones of interest.

    They run on the relay's thread: they must be quick and must not raise.
    """

    def published(self, event: Event, delay_seconds: float | None, publish_seconds: float | None) -> None:
        """The sink has the event.

        Args:
            delay_seconds: from its last frame's arrival to the acknowledgement. None for recordings, and for an event
                that an earlier process has accepted: no clock that cannot jump runs through both.
            publish_seconds: from its commit to the outbox to the acknowledgement. None as ``delay_seconds``.
        """

    def waiting(self, reason: str) -> None:
        """Nothing can be delivered at the moment. Called once for each reason; the relay keeps trying."""

    def resumed(self) -> None:
        """The sink accepts events: for the first time, or again."""

    def reconnected(self) -> None:
        """A connection that could be used has failed, and a new one has replaced it."""

    def failed(self, identity: str, reason: str) -> None:
        """The sink will never have an event: it refuses the event, or this version cannot read it.

        The event stays in the outbox's file, set aside.

        Args:
            identity: the event's id.
        """


class Relay:
    """Delivers the events of an outbox to one sink, on a thread of its own, until it is stopped.

    It sends at most one event of each camera at a time and waits for the answers, so a camera's events arrive in
    order. A repetition after a failure may come after later events; its id identifies it.

    Args:
        sink: the destination, used by this relay alone.
        deliveries: the sink's part of the outbox.
        is_late: asked before each event is sent whether another worker has taken its camera over meanwhile; the event
            is then marked so.
        most_backoff_seconds: the longest pause between two attempts, unless the sink asks for a longer one.
    """

    def __init__(
        self,
        sink: Sink,
        deliveries: Deliveries,
        *,
        listener: RelayListener | None = None,
        is_late: Callable[[Event], bool] = lambda _event: False,
        most_backoff_seconds: float = _BACKOFF_SECONDS[1],
    ) -> None:
        self._most_backoff_seconds = most_backoff_seconds
        self._backoff_seconds = _BACKOFF_SECONDS[0]
        self._sink = sink
        self._deliveries = deliveries
        self._listener = listener or RelayListener()
        self._is_late = is_late
        self._accepted = threading.Event()
        self._stopping = threading.Event()
        self._stop_at = math.inf  # on the monotonic clock
        self._outage: str | None = "not connected yet"  # the reason that the listener knows
        self._slow_at = math.inf  # on the monotonic clock: when the current send is reported as slow
        self._acknowledged: list[tuple[Event, Delivery]] = []  # delivered; the outbox does not know it yet
        self._thread = threading.Thread(target=self._run, name=f"relay-{deliveries.sink}", daemon=True)

    def check(self) -> None:
        """Connect to the sink once, before :meth:`start`. Raises SinkUnavailableError: it cannot be reached."""
        with self._sink.connect():
            pass

    def start(self) -> None:
        """Begin to deliver. Returns at once, also when the sink is away."""
        self._thread.start()

    @property
    def has_died(self) -> bool:
        """Return whether its thread has ended although it was not stopped."""
        return self._thread.ident is not None and not (self._thread.is_alive() or self._stopping.is_set())

    @property
    def name(self) -> str:
        """The name of its thread."""
        return self._thread.name

    def notify(self) -> None:
        """Deliver newly accepted events now rather than within a second."""
        self._accepted.set()

    def request_stop(self, timeout: float) -> None:
        """Let the relay end once nothing is pending, after ``timeout`` seconds at the latest. Returns at once."""
        self._stop_at = time.monotonic() + timeout
        self._stopping.set()
        self._accepted.set()

    def join(self) -> int:
        """Wait for the end after :meth:`request_stop`.

        Returns:
            the number of events that the sink does not have; the next relay over the outbox delivers them.
        """
        if self._thread.is_alive():
            self._thread.join(max(self._stop_at - time.monotonic(), 0.0) + _GRACE_SECONDS)
        return self._deliveries.depth()

    def stop(self, timeout: float = 5.0) -> int:
        """Deliver pending events for at most ``timeout`` seconds, and end. Returns as :meth:`join`."""
        self.request_stop(timeout)
        return self.join()

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # -- on the relay's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        failed = False  # a connection, since the last one was made
        while not self._time_is_up():
            connected, wait_seconds = False, 0.0
            try:
                if self._stopping.is_set() and self._deliveries.depth() == 0:
                    return
                with self._sink.connect():
                    if failed:
                        self._listener.reconnected()
                    connected, failed = True, False
                    self._deliver_all()
                    return
            except OutboxError as error:
                self._report_outage(str(error))
            except SinkUnavailableError as error:
                failed = failed or connected
                wait_seconds = error.wait_seconds
                self._report_outage(str(error))
            except Exception as error:  # a bug, ours or the client's, must not end the delivery of alerts
                failed = failed or connected
                self._report_outage(f"{self._sink}: {type(error).__name__}: {' '.join(str(error).split())}")
            if not self._stopping.wait(max(self._backoff_seconds, wait_seconds)):
                self._backoff_seconds = min(2 * self._backoff_seconds, self._most_backoff_seconds)
            else:
                time.sleep(_BACKOFF_SECONDS[0])

    def _deliver_all(self) -> None:
        """Deliver until it is time to stop. Raises SinkUnavailableError when the connection is of no more use."""
        while True:
            self._record_acknowledged()
            self._accepted.clear()  # before reading, so that no event accepted meanwhile is missed
            merges = self._deliveries.merges
            pending = self._deliveries.pending(_BATCH, on_unreadable=self._listener.failed)
            for number, events in enumerate(one_of_each_camera(pending)):
                if self._time_is_up():
                    return
                # Those read before may be gone: read again. The first round is of events that are never merged.
                if number > 0 and self._deliveries.merges != merges:
                    break
                self._deliver(events)
            if not pending:
                self._backoff_seconds = _BACKOFF_SECONDS[0]
                self._report_resumed()
                if self._stopping.is_set():
                    return
                self._accepted.wait(_IDLE_SECONDS)

    def _deliver(self, events: Sequence[Event]) -> None:
        """Send one event of each camera, and record the answers."""
        now = datetime.now(UTC)
        sent = [(event.marked_late() if self._is_late(event) else event).published(now) for event in events]
        self._slow_at = time.monotonic() + _SLOW_SECONDS
        answers = list(zip(sent, self._sink.send(sent, self._keep_waiting), strict=True))
        acknowledged = [pair for pair in answers if pair[1].verdict is Verdict.ACKNOWLEDGED]
        if acknowledged:  # a connection alone shows nothing: a sink may take it and answer errors
            self._backoff_seconds = _BACKOFF_SECONDS[0]
        self._acknowledged += acknowledged
        self._record_acknowledged()
        for event, answer in answers:
            if answer.verdict is Verdict.NEVER:
                self._deliveries.set_aside(event.id, answer.reason)
                self._listener.failed(event.id, f"{self._sink} refuses it permanently: {answer.reason}")
        for _, answer in answers:
            if answer.verdict is Verdict.RETRY:
                wait_seconds = max(each.wait_seconds for _, each in answers)
                raise SinkUnavailableError(f"{self._sink}: {answer.reason}", wait_seconds)
        self._report_resumed()

    def _record_acknowledged(self) -> None:
        """Remove delivered events from the outbox, before anything else is sent.

        Raises:
            OutboxError: the outbox cannot be written (its disk is full). Without this the same events would be sent
                again and again.
        """
        committed = [self._deliveries.committed_monotonic(event.id) for event, _ in self._acknowledged]
        self._deliveries.delivered(event.id for event, _ in self._acknowledged)
        acknowledged, self._acknowledged = self._acknowledged, []
        for (event, answer), since_commit in zip(acknowledged, committed, strict=True):
            captured = event.captured_monotonic
            self._listener.published(
                event,
                None if captured is None else answer.monotonic - captured,
                None if since_commit is None else answer.monotonic - since_commit,
            )

    def _keep_waiting(self, explain: Callable[[], str]) -> bool:
        """See :data:`pipeline.sinks.base.KeepWaiting`."""
        if self._time_is_up():
            return False
        if time.monotonic() >= self._slow_at:
            self._slow_at = math.inf
            self._report_outage(explain())
        return True

    def _time_is_up(self) -> bool:
        return time.monotonic() >= self._stop_at

    def _report_outage(self, reason: str) -> None:
        if reason != self._outage and not self._time_is_up():
            self._outage = reason
            self._listener.waiting(reason)

    def _report_resumed(self) -> None:
        if self._outage is not None:
            self._outage = None
            self._listener.resumed()


class Relays:
    """The relays of one outbox, one for each sink. None of them waits for another one."""

    def __init__(self, relays: Iterable[Relay]) -> None:
        self._relays = list(relays)

    def check(self) -> None:
        """Connect to every sink once, before :meth:`start`. Raises SinkUnavailableError: one cannot be reached."""
        for relay in self._relays:
            relay.check()

    def start(self) -> None:
        """Begin to deliver, also while sinks are away."""
        for relay in self._relays:
            relay.start()

    def dead_threads(self) -> list[str]:
        """Return the names of the threads that have ended although they were not stopped."""
        return [relay.name for relay in self._relays if relay.has_died]

    def notify(self) -> None:
        """Deliver newly accepted events now rather than within a second."""
        for relay in self._relays:
            relay.notify()

    def stop(self, timeout: float) -> None:
        """Deliver pending events for at most ``timeout`` seconds, all relays at the same time, and end."""
        for relay in self._relays:
            relay.request_stop(timeout)
        for relay in self._relays:
            relay.join()


def one_of_each_camera(pending: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield rounds of at most one event of each camera. A camera's events keep their order."""
    cameras: dict[str, list[Event]] = {}
    for event in pending:
        cameras.setdefault(event.subject, []).append(event)
    for events in itertools.zip_longest(*cameras.values()):
        yield [event for event in events if event is not None]
