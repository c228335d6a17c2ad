"""The incidents that the demo's cameras showed, and the alerts judged by them. Pure: no clock, no I/O.

The films have their incidents by frame; the camera server records when it sent each frame. Together they give the times
at which an incident was visible: once in each pass of the looped film. All times are wall-clock times of sending. A
frame is received milliseconds later: the times in alerts are compared without a correction.
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
    """A sent frame; see :class:`deploy.camera.server.Sending`."""

    @property
    def pass_(self) -> int: ...
    @property
    def frame(self) -> int: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """One showing of an incident in one pass of the film.

    Attributes:
        incident: of the film.
        began: when its first frame was sent.
        ended: when the frame after its last one was due; None while it is in progress.
    """

    incident: Incident
    began: datetime
    ended: datetime | None

    @property
    def kind(self) -> str:
        """The kind of the incident."""
        return str(self.incident.kind)

    @property
    def span(self) -> Span:
        """The span in seconds since 1970; infinite while it is in progress."""
        return Span(self.began.timestamp(), math.inf if self.ended is None else self.ended.timestamp())


def shown(incidents: Sequence[Incident], sendings: Iterable[Sending], *, fps: float) -> list[Shown]:
    """Return every showing of ``incidents`` by the sent frames, in the order of time.

    Args:
        incidents: of the film, by frame.
        sendings: of one camera, in order; each pass sends the film's frames again.
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
            incidents[place],
            times[0],
            times[-1] + period if newest >= (pass_, incidents[place].last_frame) else None,
        )
        for (pass_, place), times in showings.items()
    ]


def watched_span(showings: Sequence[Shown], joined: datetime, left: datetime) -> Span:
    """Return the part of a watch from ``joined`` to ``left`` that does not cut an incident, in seconds since 1970.

    An incident in progress at the start, or within the tolerance at the end (its alert may still come), is excluded
    together with its alerts.
    """
    start, end = joined.timestamp(), left.timestamp()
    spans = [showing.span for showing in showings]  # in order, without overlap
    next_starts = [*(span.start for span in spans[1:]), math.inf]
    for span, next_start in zip(spans, next_starts, strict=False):  # without spans the next start is undefined
        if span.start < start < span.end + TOLERANCE_SECONDS:
            start = max(start, min(span.end + TOLERANCE_SECONDS, next_start))
    for span in spans:
        if span.start <= end < span.end + TOLERANCE_SECONDS:
            end = math.nextafter(span.start, -math.inf)  # an alert at its very start belongs to it
    return Span(min(start, end), end)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a new alert: its incident and the seconds from its first frame to the consumer, or None."""

    found: Shown | None
    delay_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Alert:
    opened: datetime
    arrived_at: datetime
    ended: datetime | None = None

    @property
    def span(self) -> Span:
        opened = self.opened.timestamp()
        return Span(opened, math.inf if self.ended is None else max(opened, self.ended.timestamp()))


class Witness:
    """A record of one camera's showings, and of one detector's alerts there. Not thread-safe."""

    def __init__(self, incidents: Sequence[Incident], *, fps: float, sent: Callable[[], Sequence[Sending]]) -> None:
        """
        Args:
            incidents: of the camera's film, by frame.
            sent: returns the frames that the camera has sent so far.
        """
        self._incidents = incidents
        self._fps = fps
        self._sent = sent
        self._alerts: dict[UUID, _Alert] = {}

    @property
    def alerts(self) -> int:
        """Number of alerts so far."""
        return len(self._alerts)

    def showings(self) -> list[Shown]:
        """Return the showings of the camera so far."""
        return shown(self._incidents, self._sent(), fps=self._fps)

    def add_event(self, event: AlertEvent, arrived_at: datetime) -> Verdict | None:
        """Add an event that reached the consumer at ``arrived_at``; return the verdict on a new alert, else None."""
        data = event.data
        known = self._alerts.get(data.alert_id)
        if known is not None:
            if data.state is AlertState.END and data.ended_at is not None:
                self._alerts[data.alert_id] = replace(known, ended=data.ended_at)
            return None
        opened = data.scores[-1].ended_at if data.state is AlertState.BEGIN and data.scores else None
        if opened is None:
            return None
        self._alerts[data.alert_id] = _Alert(opened, arrived_at)
        showings = self.showings()
        found = self._found(showings).get(data.alert_id)
        return Verdict(found, None if found is None else (arrived_at - found.began).total_seconds())

    def about(self) -> dict[UUID, Shown | None]:
        """Return the showing that each alert is about; None for a false alarm."""
        found = self._found(self.showings())
        return {alert: found.get(alert) for alert in self._alerts}

    def _found(self, showings: Sequence[Shown]) -> dict[UUID, Shown]:
        names = list(self._alerts)
        pairs = match([one.span for one in showings], [alert.span for alert in self._alerts.values()])
        return {names[pair.alert]: showings[pair.incident] for pair in pairs}

    def frame_at(self, when: datetime) -> int:
        """Return the frame of the film that the camera sent nearest to a moment; 0 where it has sent none."""
        return min(self._sent(), key=lambda one: abs(one.at - when)).frame if self._sent() else 0

    def sheet(self, joined: datetime, left: datetime) -> ScoreSheet:
        """Return the score sheet of a watch from ``joined`` to ``left``, for completely watched incidents.

        Delays run from the moment the camera sent an incident's first frame to the moment the alert reached the
        consumer.
        """
        showings = self.showings()
        incidents = [one.span for one in showings]
        alerts = list(self._alerts.values())
        return score(
            incidents,
            [alert.span for alert in alerts],
            watched_span(showings, joined, left),
            kinds=[one.kind for one in showings],
            delay=lambda pair: alerts[pair.alert].arrived_at.timestamp() - incidents[pair.incident].start,
        )
