"""Publishes the alert events of a replay to a topic, through an outbox that belongs to this topic alone.

A run folder may be published to one topic today and to another one tomorrow. Events that wait for the first one stay in
its outbox and are sent when it is named again. A topic of the same name at another broker is another topic.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

from pipeline import logs
from pipeline.alerts.outbox import Outbox
from pipeline.runs.folder import key_of
from pipeline.settings import KafkaSettings
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.relay import Relay, RelayListener

_log = logs.get("replay")

#: The end of a replay waits this long for a broker that accepts nothing.
_PATIENCE_SECONDS = 30.0
#: The relay may finish its current round within this time.
_STOP_SECONDS = 2.0
_POLL_SECONDS = 0.05
#: Characters of the topic's name in the name of the outbox file, which may have 255 bytes.
_NAME_LENGTH = 100
#: The outbox's name of its only sink.
_SINK = "kafka"


class Publishing:
    """The outbox of one topic in a run folder, and the relay that empties it. :meth:`close` it after use.

    Args:
        folder: the run's folder, used by this process alone.

    Raises:
        OutboxError: the outbox cannot be opened.
        KafkaSecurityError: a file of the security settings cannot be used.
    """

    def __init__(self, folder: Path, kafka: KafkaSettings) -> None:
        self.topic = f"{kafka.bootstrap}/{kafka.topic}"  #: with its broker
        self._name = kafka.topic
        self._folder = folder
        self._relay_log = _RelayLog()
        sink = KafkaSink.from_settings(kafka)
        file = folder / f"outbox-{kafka.topic[:_NAME_LENGTH]}-{key_of(self.topic)}.sqlite"
        self.outbox = Outbox(file, [_SINK])
        self._relay = Relay(sink, self.outbox.deliveries(_SINK), listener=self._relay_log)
        self._relay.start()

    def notify(self) -> None:
        """Deliver newly accepted events now rather than within a second."""
        self._relay.notify()

    def flush(self, stop: threading.Event) -> None:
        """Return when the topic has everything, when it has accepted nothing for 30 s, or when ``stop`` is set."""
        least, since = self.outbox.depth(), time.monotonic()
        while least and time.monotonic() < since + _PATIENCE_SECONDS and not stop.wait(_POLL_SECONDS):
            if (left := self.outbox.depth()) < least:
                least, since = left, time.monotonic()

    def close(self) -> list[str]:
        """End, and return one line for each group of events that are not on the topic, with the reason."""
        left = self._relay.stop(_STOP_SECONDS)
        self.outbox.close()
        lines = [
            f"{count} alert event(s) will never be on the topic {self._name} and are set aside in {self.outbox.path}: "
            f"{reason}"
            for reason, count in self._relay_log.refused.items()
        ]
        if left:
            why = f" ({self._relay_log.outage})" if self._relay_log.outage else ""
            lines.append(
                f"{left} alert event(s) are not on the topic {self._name} yet{why}; the same command with --out "
                f"{self._folder} sends them"
            )
        return lines


class _RelayLog(RelayListener):
    """Logs the relay's callbacks, and keeps the reasons for the end."""

    def __init__(self) -> None:
        self.outage: str | None = None
        self.refused: Counter[str] = Counter()

    def waiting(self, reason: str) -> None:
        self.outage = reason
        _log.warning("waiting for the broker; alerts are kept", reason=reason)

    def resumed(self) -> None:
        self.outage = None

    def failed(self, identity: str, reason: str) -> None:
        self.refused[reason] += 1
        _log.error("this event cannot be delivered; it is set aside", id=identity, reason=reason)
