"""What the demo's cameras really showed, and what the alerts are worth beside it. Pure: no clock, no I/O.

The films know their incidents by frame; the camera server knows when it sent each frame. Together they say when an
incident was to be seen: once in each pass of the looped film. Everything here is on that clock, the wall's at the
moment of sending. A frame is received milliseconds later: the times that an alert carries are compared as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from operators.alerting import AlertState
from operators.figures.events import TOLERANCE_SECONDS, ScoreSheet, Span, match, score
from pipeline.alerts.event import AlertEvent
from pipeline.courtyard.settings import Incident


class Sending(Protocol):
    """A frame that went out; see :class:`deploy.camera.server.Sending`."""

    @property
    def pass_(self) -> int: ...
    @property
    def frame(self) -> int: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """An incident as one pass of the film showed it.

    Attributes:
        kind: of the incident.
        began: when its first frame was sent.
        ended: when the frame after its last one was due; None while it goes on.
    """

    kind: str
    began: datetime
    ended: datetime | None

    @property
    def span(self) -> Span:
        """In seconds since 1970; without an end while it goes on."""
        return Span(self.began.timestamp(), math.inf if self.ended is None else self.ended.timestamp())


def shown(incidents: Sequence[Incident], sendings: Iterable[Sending], *, fps: float) -> list[Shown]:
    """Every showing of ``incidents`` by the frames that were sent, in the order of time.

    Args:
        incidents: of the film, by frame.
        sendings: of one camera, in order; each pass sends the film's frames anew.
    """
    showings: dict[tuple[int, int], list[datetime]] = {}  # by pass and place of the incident
    newest = (-1, -1)
    incident_of = {
        frame: place
        for place, incident in enumerate(incidents)
        for frame in range(incident.first_frame, incident.last_frame + 1)
    }
    for sending in sendings:
        newest = (sending.pass_, sending.frame)
        if (place := incident_of.get(sending.frame)) is not None:
            showings.setdefault((sending.pass_, place), []).append(sending.at)
    period = timedelta(seconds=1 / fps)
    return [
        Shown(
            incidents[place].kind,
            times[0],
            times[-1] + period if newest >= (pass_, incidents[place].last_frame) else None,
        )
        for (pass_, place), times in showings.items()
    ]


def whole(showings: Sequence[Shown], joined: datetime, left: datetime) -> Span:
    """The part of a watch from ``joined`` to ``left`` that cuts no incident in two, in seconds since 1970.

    What was already going on at the start, or had not been over for the tolerance at the end (its alert may still
    come), counts for nothing: neither as found or missed nor, with its alerts, as anything else.
    """
    start, end = joined.timestamp(), left.timestamp()
    spans = [showing.span for showing in showings]  # in order, and never two at once
    next_starts = [*(span.start for span in spans[1:]), math.inf]
    for span, next_start in zip(spans, next_starts, strict=False):  # no span has no next start
        if span.start < start < span.end + TOLERANCE_SECONDS:
            start = max(start, min(span.end + TOLERANCE_SECONDS, next_start))
    for span in spans:
        if span.start <= end < span.end + TOLERANCE_SECONDS:
            end = math.nextafter(span.start, -math.inf)  # an alert in its very first moment is its own
    return Span(min(start, end), end)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a new alert is about: an incident and the seconds from its first frame to the consumer, or nothing."""

    found: Shown | None
    delay_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Alert:
    opened: datetime
    had_at: datetime
    ended: datetime | None = None

    @property
    def span(self) -> Span:
        opened = self.opened.timestamp()
        return Span(opened, math.inf if self.ended is None else max(opened, self.ended.timestamp()))


class Witness:
    """Saw everything that one camera showed, and hears every alert that it raises. Not thread-safe."""

    def __init__(self, incidents: Sequence[Incident], *, fps: float, sent: Callable[[], Sequence[Sending]]) -> None:
        """
        Args:
            incidents: of the film that the camera shows, by frame.
            sent: what the camera has sent so far.
        """
        self._incidents = incidents
        self._fps = fps
        self._sent = sent
        self._alerts: dict[UUID, _Alert] = {}

    @property
    def alerts(self) -> int:
        """How many have been heard."""
        return len(self._alerts)

    def showings(self) -> list[Shown]:
        """What the camera has shown so far."""
        return shown(self._incidents, self._sent(), fps=self._fps)

    def hear(self, event: AlertEvent, had_at: datetime) -> Verdict | None:
        """Take an event that the consumer had at ``had_at``; the verdict on a new alert, else None."""
        data = event.data
        known = self._alerts.get(data.alert_id)
        if known is not None:
            if data.state is AlertState.END and data.ended_at is not None:
                self._alerts[data.alert_id] = replace(known, ended=data.ended_at)
            return None
        opened = data.scores[-1].ended_at if data.state is AlertState.BEGIN and data.scores else None
        if opened is None:
            return None
        self._alerts[data.alert_id] = _Alert(opened, had_at)
        showings = self.showings()
        found = self._found(showings).get(data.alert_id)
        return Verdict(found, None if found is None else (had_at - found.began).total_seconds())

    def _found(self, showings: Sequence[Shown]) -> dict[UUID, Shown]:
        names = list(self._alerts)
        pairs = match([one.span for one in showings], [alert.span for alert in self._alerts.values()])
        return {names[pair.alert]: showings[pair.incident] for pair in pairs}

    def sheet(self, joined: datetime, left: datetime) -> ScoreSheet:
        """The score sheet of a watch from ``joined`` to ``left``, as far as it saw incidents whole.

        Delays run from the moment the camera sent an incident's first frame to the moment the consumer had the alert.
        """
        showings = self.showings()
        incidents = [one.span for one in showings]
        alerts = list(self._alerts.values())
        return score(
            incidents,
            [alert.span for alert in alerts],
            whole(showings, joined, left),
            kinds=[one.kind for one in showings],
            delay=lambda pair: alerts[pair.alert].had_at.timestamp() - incidents[pair.incident].start,
        )
