"""One alert's film while it is made: what was ordered, what is known of it by now, and how events name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from pipeline.alerts.cloud_event import rounded
from pipeline.alerts.film import ClipHeat, Film

#: Clips whose heat is kept with a film: 100 s at ten clips a second.
_MOST_HEAT = 1000


@dataclass(frozen=True, slots=True)
class FilmLengths:
    """Lengths of films, seconds.

    Attributes:
        pre_roll: wanted before an alert.
        post_roll: wanted after its end.
        most: longest film, counted from the wanted start.
    """

    pre_roll: float
    post_roll: float
    most: float


@dataclass(frozen=True, slots=True)
class FilmedAlert:
    """An alert that is to have a film.

    Attributes:
        name: of the film's file, without its suffix.
        starts_at: PTS of its first frame, seconds.
        started_at: wall-clock time of it.
    """

    alert_id: UUID
    detector: str | None
    name: str
    segment: str
    starts_at: float
    started_at: datetime | None


@dataclass(eq=False)
class AlertFilm:
    """One alert's film, from its order on. Its state is written under the lock of its camera's films."""

    alert: FilmedAlert
    number: int
    path: Path
    notes_path: Path
    draft: Path
    lengths: FilmLengths
    uri_of: Callable[[Path], str] = Path.as_uri
    heat: list[ClipHeat] = field(default_factory=list)
    ends_at: float | None = None  #: PTS of the alert's end on the clock of its begin
    lead: float | None = None
    seconds: float | None = None  #: once it is done
    has_failed: bool = False
    is_due: bool = False  #: nothing more is to come for it, and it is there soon

    def add_heat(self, clip: ClipHeat) -> None:
        """Keep the heat of a clip, within limits."""
        if len(self.heat) < _MOST_HEAT:
            self.heat.append(clip)

    def named(self) -> Film | None:
        """Return the film as an event names it; None: it has failed."""
        if self.has_failed:
            return None
        if self.is_due:  # its times come while the event is made: two runs of a recording would differ by chance
            return Film(
                uri=self.uri_of(self.path),
                notes=self.uri_of(self.notes_path),
                started_at=None,
                seconds=None,
                alert_starts_at_seconds=None,
            )
        return Film(
            uri=self.uri_of(self.path),
            notes=self.uri_of(self.notes_path),
            started_at=self.started_at(),
            seconds=self._seconds(),
            alert_starts_at_seconds=None if self.lead is None else rounded(self.lead),
        )

    def started_at(self) -> datetime | None:
        """Return the wall-clock time of its first picture."""
        if self.lead is None or self.alert.started_at is None:
            return None
        return self.alert.started_at - timedelta(seconds=self.lead)

    def _seconds(self) -> float | None:
        if self.seconds is not None or self.lead is None or self.ends_at is None:
            return None if self.seconds is None else rounded(self.seconds)
        expected = self.lead + self.ends_at - self.alert.starts_at + self.lengths.post_roll
        return rounded(max(0.0, min(expected, self.lead - self.lengths.pre_roll + self.lengths.most)))
