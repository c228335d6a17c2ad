"""The film of each alert of one camera and detector, as its events come: the last one names it."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from uuid import UUID

from operators.alerting import AlertState, AlertTransition
from pipeline.alerts.alert_film import AlertFilm, FilmedAlert
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.film import ClipHeat, Film
from pipeline.alerts.films import CameraFilms

#: Clips of which heat is kept before an alert begins.
_MOST_CLIPS = 256


def file_stem(alert: UUID, started_at: datetime | None, start_seconds: float) -> str:
    """Return the name of an alert's files, for people who look into the folder: when it began, and which it is.

    Args:
        start_seconds: PTS of the first frame, for an alert without a wall-clock time.
    """
    when = f"{started_at:%Y%m%dT%H%M%SZ}" if started_at else f"{start_seconds:08.1f}s"
    return f"{when}-{str(alert)[:8]}"


class AlertFilming:
    """Begins and ends the films of the alerts of one camera and detector. Not thread-safe."""

    def __init__(self, films: CameraFilms) -> None:
        self._films = films
        self._film: AlertFilm | None = None  # of the open alert
        self._left: Film | None = None  # of the open alert, by another worker
        self._recent: deque[ClipHeat] = deque(maxlen=_MOST_CLIPS)

    @property
    def film(self) -> Film | None:
        """The open alert's film, where it has one."""
        return self._left if self._film is None else self._film.named()

    def saw(self, clip: ClipHeat) -> None:
        """Take the heat of the next clip."""
        if self._film is not None:
            self._film.add_heat(clip)
        self._recent.append(clip)

    def resume(self, film: Film | None) -> None:
        """Continue another worker's alert, whose film ended with that worker."""
        self._left = film

    def filmed(self, event: AlertEvent, transition: AlertTransition) -> AlertEvent:
        """Begin or end the film that a transition calls for; returns the event, an end with its film."""
        if transition.sequence == 0:
            self._begin(event)
        if transition.state is not AlertState.END:
            return event
        self._end(transition.last.segment, transition.last.end)
        film, self._film, self._left = self.film, None, None
        return event if film is None else event.filmed(film)

    def let_go(self, segment: str, ends_at: float) -> None:
        """End the film of an alert that stays open for another worker."""
        self._end(segment, ends_at)

    def _begin(self, event: AlertEvent) -> None:
        data = event.data
        name = file_stem(data.alert_id, data.started_at, data.started_pts_seconds)
        alert = FilmedAlert(data.alert_id, data.detector, name, data.segment, data.started_pts_seconds, data.started_at)
        self._left = None
        self._film = self._films.begin(alert)
        if self._film is not None:
            since = alert.starts_at - self._films.pre_roll_seconds
            for clip in self._recent:
                if clip.segment == alert.segment and clip.end > since:
                    self._film.add_heat(clip)

    def _end(self, segment: str, ends_at: float) -> None:
        if self._film is not None:
            self._films.end(self._film, segment, ends_at)
