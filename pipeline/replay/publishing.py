"""A replay's alert events on their way to a topic, through an outbox that is this topic's alone.

A run folder may be published to one topic today and to another one tomorrow: what waits for the first stays with it,
and is sent when it is named again. A topic of the same name at another broker is another topic.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox
from pipeline.runs.folder import key_of
from pipeline.settings import KafkaSettings
from pipeline.sinks.kafka import KafkaRelay, SilentListener

_log = logs.get("replay")

#: The end of a replay waits so long for a broker that takes nothing, seconds.
_PATIENCE_SECONDS = 30.0
#: At any end the relay may finish what it is at, seconds.
_STOP_SECONDS = 2.0
_LOOK_SECONDS = 0.05
#: Of a topic's name in a file's, which may be of 255 bytes.
_NAME_SHOWN = 100


class Publishing:
    """The outbox of one topic in a run folder, and the relay that empties it. :meth:`close` it.

    Args:
        folder: of the run, for this process alone.
        kafka: the broker and the topic.

    Raises:
        OutboxError: the outbox cannot be opened.
        KafkaSecurityError: as :class:`pipeline.sinks.kafka.KafkaRelay`.
    """

    def __init__(self, folder: Path, kafka: KafkaSettings) -> None:
        self.topic = f"{kafka.bootstrap}/{kafka.topic}"  #: in full
        self._name = kafka.topic
        self._folder = folder
        self._news = _News()
        self.outbox = Outbox(folder / f"outbox-{kafka.topic[:_NAME_SHOWN]}-{key_of(self.topic)}.sqlite")
        try:
            self._relay = KafkaRelay(
                self.outbox,
                kafka.bootstrap,
                kafka.topic,
                create_topic=kafka.create_topic,
                security=kafka.security,
                listener=self._news,
            )
            self._relay.start()
        except BaseException:
            self.outbox.close()
            raise

    def notify(self) -> None:
        """The outbox has accepted something."""
        self._relay.notify()

    def flush(self, stop: threading.Event) -> None:
        """Return when the topic has everything, when it has taken nothing for so long, or when ``stop`` is set."""
        least, since = self.outbox.depth(), time.monotonic()
        while least and time.monotonic() < since + _PATIENCE_SECONDS and not stop.wait(_LOOK_SECONDS):
            if (left := self.outbox.depth()) < least:
                least, since = left, time.monotonic()

    def close(self) -> list[str]:
        """End. Returns, a line each, what the topic has not got and why."""
        left = self._relay.stop(_STOP_SECONDS)
        self.outbox.close()
        lines = [
            f"{count} alert event(s) will never be on the topic {self._name} and are set aside in {self.outbox.path}: "
            f"{reason}"
            for reason, count in self._news.refused.items()
        ]
        if left:
            why = f" ({self._news.trouble})" if self._news.trouble else ""
            lines.append(
                f"{left} alert event(s) are not on the topic {self._name} yet{why}; the same command with --out "
                f"{self._folder} sends them"
            )
        return lines


class _News(SilentListener):
    """What the relay tells, for the end and for the log."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.refused: Counter[str] = Counter()

    def waiting(self, reason: str) -> None:
        self.trouble = reason
        _log.warning("waiting for the broker; alerts are kept", reason=reason)

    def resumed(self) -> None:
        self.trouble = None

    def failed(self, event: AlertEvent, reason: str) -> None:
        self.refused[reason] += 1
        _log.error("the broker refuses this alert for good; it is set aside", id=event.id, reason=reason)
