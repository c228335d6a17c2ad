"""A destination of alerts in this process that can be away, frozen, or answer as a test's script says."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

from pipeline.alerts.reading import Event
from pipeline.sinks.base import Delivery, KeepWaiting, SinkUnavailableError, Verdict

#: Larger documents are refused permanently, as Kafka's producer does by default.
LIMIT_BYTES = 1_048_576


class ScriptedServer:
    """The receiving side.

    Attributes:
        received: the documents of every acknowledged event, in order.
        script: answers of the next sends, one for each event; without one an event is acknowledged. An exception is
            raised by ``send``.
        connections: the number of connections so far.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.script: list[Verdict | Exception] = []
        self.connections = 0
        self._reachable = threading.Event()
        self._reachable.set()
        self._answering = threading.Event()
        self._answering.set()
        self.start, self.stop = self._reachable.set, self._reachable.clear
        self.thaw, self.freeze = self._answering.set, self._answering.clear

    def sink(self, give_up_seconds: float = 4.0) -> ScriptedSink:
        """Return a client that waits for an answer this long."""
        return ScriptedSink(self, give_up_seconds)

    @property
    def is_reachable(self) -> bool:
        return self._reachable.is_set()

    def answers_within(self, seconds: float) -> bool:
        return self._answering.wait(seconds)


class ScriptedSink:
    """The sending side."""

    def __init__(self, server: ScriptedServer, give_up_seconds: float) -> None:
        self._server = server
        self._give_up_seconds = give_up_seconds
        self._connected = False

    @contextlib.contextmanager
    def connect(self) -> Iterator[None]:
        self._server.connections += 1
        if not self._server.is_reachable:
            raise SinkUnavailableError(f"{self}: Connection refused")
        assert not self._connected, "one connection at a time"
        self._connected = True
        try:
            yield
        finally:
            self._connected = False

    def send(self, events: Sequence[Event], keep_waiting: KeepWaiting) -> list[Delivery]:
        assert self._connected, "send() is called inside connect()"
        assert 0 < len(events) == len({event.subject for event in events}), "one of each camera"
        return [self._answer(event, keep_waiting) for event in events]

    def _answer(self, event: Event, keep_waiting: KeepWaiting) -> Delivery:
        deadline = time.monotonic() + self._give_up_seconds
        while not self._server.answers_within(0.1):
            if time.monotonic() > deadline or not keep_waiting(lambda: f"{self}: acknowledges nothing"):
                return Delivery(Verdict.RETRY, "no acknowledgement in time")
        if not self._server.is_reachable:
            return Delivery(Verdict.RETRY, "Connection reset")
        if len(event.to_json()) > LIMIT_BYTES:
            return Delivery(Verdict.NEVER, "larger than the maximum request size")
        answer = self._server.script.pop(0) if self._server.script else Verdict.ACKNOWLEDGED
        if isinstance(answer, Exception):
            raise answer
        if answer is Verdict.ACKNOWLEDGED:
            self._server.received.append(event.to_json())
        return Delivery(answer, "" if answer is Verdict.ACKNOWLEDGED else "as the script says")

    def __str__(self) -> str:
        return "Scripted"
