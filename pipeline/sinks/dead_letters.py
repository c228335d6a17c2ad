"""From the events that are set aside in an outbox to the dead-letter topic, on a thread of its own.

An event that a sink refuses is set aside first, which holds up nothing. While the topic cannot be reached it stays so,
in the outbox's file, and is tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from pipeline.alerts.dead_letter import dead_letter
from pipeline.alerts.outbox import Outbox, OutboxError, SetAside
from pipeline.sinks.base import SinkUnavailableError, Verdict
from pipeline.sinks.kafka import KafkaSink

#: Between two attempts to reach the topic, doubled from the first to the last.
_BACKOFF_SECONDS = (1.0, 30.0)
#: Letters sent at once.
_BATCH = 50
#: Added to the timeout of a stop, for a connection that notices the end a little late.
_GRACE_SECONDS = 0.2


class DeadLetterListener:
    """Callbacks, all empty; they run on the thread of the letters, must be quick and must not raise."""

    def sent(self, event: SetAside, *, complete: bool) -> None:
        """The topic has a letter.

        Args:
            complete: with the event's document. Otherwise it was too large, and stays in the outbox.
        """

    def waiting(self, reason: str) -> None:
        """No letter can be sent. Called once for each reason; events wait in the outbox."""


class DeadLetters:
    """Sends a letter for each event that is set aside, until it is stopped.

    Args:
        sink: the dead-letter topic, used by this object alone.
        site: the source of the letters.
    """

    def __init__(self, sink: KafkaSink, outbox: Outbox, site: str, listener: DeadLetterListener | None = None) -> None:
        self._sink = sink
        self._outbox = outbox
        self._site = site
        self._listener = listener or DeadLetterListener()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._outage: str | None = None
        self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)

    def start(self) -> None:
        """Begin to send, also letters of events that an earlier process has set aside."""
        self._thread.start()

    def notify(self) -> None:
        """Look for events that were set aside now."""
        self._changed.set()

    def stop(self, timeout: float) -> None:
        """End within ``timeout`` seconds; what is not sent is sent by the next process."""
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout + _GRACE_SECONDS)

    def _run(self) -> None:
        backoff = _BACKOFF_SECONDS[0]
        while not self._stopping.is_set():
            self._changed.clear()
            try:
                self._send_all()
                backoff, self._outage = _BACKOFF_SECONDS[0], None
                self._changed.wait()
                continue
            except (OutboxError, SinkUnavailableError) as error:
                self._report(str(error))
            except Exception as error:  # a bug, ours or the client's, must not end the letters
                self._report(f"{self._sink}: {type(error).__name__}: {' '.join(str(error).split())}")
            self._stopping.wait(backoff)
            backoff = min(2 * backoff, _BACKOFF_SECONDS[1])

    def _send_all(self) -> None:
        """Send a letter for each event that is set aside. Raises SinkUnavailableError, OutboxError."""
        while (events := self._outbox.set_aside(_BATCH)) and not self._stopping.is_set():
            with self._sink.connect():
                for event in events:
                    self._send(event)

    def _send(self, event: SetAside) -> None:
        for complete in (True, False):
            letter = dead_letter(self._site, event, complete=complete).published(datetime.now(UTC))
            [answer] = self._sink.send([letter], self._keep_waiting)
            if answer.verdict is Verdict.RETRY:
                raise SinkUnavailableError(f"{self._sink}: {answer.reason}")
            if answer.verdict is Verdict.ACKNOWLEDGED:
                break
        else:
            self._report(f"{self._sink} refuses a dead letter: {answer.reason}")
        self._outbox.report_set_aside([event], keep=not complete)
        self._listener.sent(event, complete=complete)

    def _keep_waiting(self, _explain: Callable[[], str]) -> bool:
        return not self._stopping.is_set()

    def _report(self, reason: str) -> None:
        if reason != self._outage and not self._stopping.is_set():
            self._outage = reason
            self._listener.waiting(reason)
