"""The log and the counts of delivery: the relays, the limits of the outbox, and the dead letters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipeline import logs
from pipeline.alerts.outbox import Outbox, SetAside
from pipeline.alerts.outbox_capacity import Fill, OutboxListener
from pipeline.alerts.reading import Event
from pipeline.live.metrics import Metrics
from pipeline.sinks.dead_letters import DeadLetterListener
from pipeline.sinks.relay import RelayListener

_log = logs.get("service")

#: Receives an event that a sink has; see :meth:`pipeline.sinks.relay.RelayListener.published`.
Delivered = Callable[[Event, float | None, float | None], None]


class RelayLog(RelayListener):
    """Logs and counts the callbacks of one sink's relay, and passes its deliveries on.

    Args:
        sink: the sink's name in the settings.
        place: the sink as messages name it.
        set_aside: called after an event was set aside.
    """

    def __init__(
        self, metrics: Metrics, sink: str, place: str, delivered: Delivered, set_aside: Callable[[], None]
    ) -> None:
        self._reconnects = metrics.sink_reconnects.labels(sink)
        self._away = metrics.sink_away.labels(sink)
        self._away.set(1)
        self.is_away = True  #: the sink takes no events; so until it was reached for the first time
        self._set_aside = metrics.events_set_aside.labels(sink)
        self._sink = sink
        self._place = place
        self._delivered = delivered
        self._notify = set_aside

    def published(self, event: Event, delay_seconds: float | None, publish_seconds: float | None) -> None:
        self._delivered(event, delay_seconds, publish_seconds)

    def _set_away(self, away: bool) -> None:
        self.is_away = away
        self._away.set(away)

    def waiting(self, reason: str) -> None:
        self._set_away(True)
        _log.warning("waiting for the sink; alerts are kept", sink=self._sink, reason=reason)

    def resumed(self) -> None:
        self._set_away(False)
        _log.info("the sink accepts alerts", sink=self._sink, place=self._place)

    def reconnected(self) -> None:
        self._reconnects.inc()

    def failed(self, identity: str, reason: str) -> None:
        self._set_aside.inc()
        _log.error("this event cannot be delivered; it is set aside", sink=self._sink, id=identity, reason=reason)
        self._notify()


class OutboxLog(OutboxListener):
    """Logs and counts what the limits of the outbox cost."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._refused: dict[str, int] = {}  # alerts since the sink is full

    def is_full(self, sink: str) -> bool:
        """Return whether the sink does not get new alerts, because too much waits for it."""
        return sink in self._refused

    def watch(self, outbox: Outbox, sinks: list[str]) -> None:
        """Let the gauges show the outbox."""
        metrics = self._metrics
        metrics.outbox_depth.set_function(outbox.depth)
        metrics.outbox_file_bytes.set_function(outbox.size_bytes)
        for sink in sinks:
            metrics.outbox_events.labels(sink).set_function(partial(_events, outbox, sink))
            metrics.outbox_bytes.labels(sink).set_function(partial(_bytes, outbox, sink))

    def freeze(self, outbox: Outbox, sinks: list[str]) -> int:
        """Let the gauges keep what they show, before the outbox is closed; return the number of events in it."""
        metrics, left = self._metrics, outbox.depth()
        gauges = [(metrics.outbox_depth, left), (metrics.outbox_file_bytes, outbox.size_bytes())]
        for sink in sinks:
            fill = outbox.fill(sink)
            gauges.append((metrics.outbox_events.labels(sink), fill.events))
            gauges.append((metrics.outbox_bytes.labels(sink), fill.bytes))
        for gauge, value in gauges:
            gauge.set_function(partial(float, value))
        return left

    def merged(self, sink: str, count: int) -> None:
        self._metrics.outbox_merged.labels(sink).inc(count)

    def refused(self, sink: str, event: Event) -> None:
        self._refused[sink] = self._refused.get(sink, 0) + 1
        self._metrics.outbox_refused.labels(sink, event.subject).inc()

    def full(self, sink: str, fill: Fill) -> None:
        self._refused[sink] = 0
        _log.error(
            "the outbox is full for this sink; it does not get new alerts until it has taken some of those that wait",
            sink=sink,
            events=fill.events,
            megabytes=round(fill.bytes / 1e6, 1),
        )

    def has_room(self, sink: str) -> None:
        refused = self._refused.pop(sink, 0)
        _log.warning("the sink gets new alerts again", sink=sink, refused=refused)

    def dropped(self, sink: str, count: int) -> None:
        self._metrics.outbox_dropped.labels(sink).inc(count)
        _log.error("too many events are set aside; the oldest are deleted", sink=sink, events=count)


class DeadLetterLog(DeadLetterListener):
    """Logs and counts the dead letters."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sent(self, event: SetAside, *, complete: bool) -> None:
        self._metrics.dead_letters.labels(event.sink).inc()
        if not complete:
            _log.warning("the event is too large for its dead letter; it stays in the outbox", id=event.id)

    def waiting(self, reason: str) -> None:
        _log.warning("waiting for the dead-letter topic; events stay set aside in the outbox", reason=reason)


def ignore(_event: Event, _delay_seconds: float | None, _publish_seconds: float | None) -> None:
    """Do nothing with a delivery."""


def _events(outbox: Outbox, sink: str) -> int:
    return outbox.fill(sink).events


def _bytes(outbox: Outbox, sink: str) -> int:
    return outbox.fill(sink).bytes
