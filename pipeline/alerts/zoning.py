"""The zones and schedules of a camera applied to its alerts: which zones hold the peak, and what mutes the alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from operators.schedule import Schedule
from operators.zones import Zone, overlapped
from pipeline.alerts.event import AlertEvent
from pipeline.heat import Heat


@dataclass(frozen=True, slots=True)
class CameraZones:
    """The zones and schedules of one camera.

    Attributes:
        schedule: of the camera; None: alerts matter at any time.
        schedules: of zones, by their names; a zone that is left out has none.
    """

    zones: tuple[Zone, ...] = ()
    schedule: Schedule | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    @property
    def names_alerts(self) -> bool:
        """Return whether alerts are named by zones: one of them is not ignored."""
        return any(not zone.ignore for zone in self.zones)

    def holding(self, heat: Heat, width: int, height: int) -> tuple[str, ...]:
        """Return the names of the zones that hold heat, the one with most of it first.

        Args:
            width, height: of the upright picture that the heat's part is counted in, pixels.
        """
        shares = heat.shares
        if shares is None:
            return ()
        left, top, right, bottom = heat.part
        return overlapped(shares, (left / width, top / height, right / width, bottom / height), self.zones)

    def muting(self, zones: tuple[str, ...] | None, at: datetime | None) -> tuple[str, ...] | None:
        """Return the schedules that mute an alert; see :attr:`pipeline.alerts.event.AlertData.outside_schedule`.

        Args:
            zones: of the alert; None where they are not known.
            at: wall-clock time; None, where it is not known, mutes nothing.
        """
        if at is None:
            return None
        if self.schedule is not None and not self.schedule.holds_at(at):
            return ()
        if zones and all(name in self.schedules and not self.schedules[name].holds_at(at) for name in zones):
            return zones
        return None


class AlertZoning:
    """The zones and mutes of one camera's and detector's alerts, one alert after the other. Not thread-safe.

    Zones are those of the alert's present peak. An alert is muted while each of its events lies outside the schedules:
    once one was sent unmuted, the later ones are, too.
    """

    def __init__(self, camera: CameraZones) -> None:
        self.camera = camera
        self._zones: tuple[str, ...] | None = None
        self._was_unmuted = False  # by an earlier event of the alert

    @property
    def zones(self) -> tuple[str, ...] | None:
        """Return the zones of the alert's present peak; None where they are not known."""
        return self._zones

    @property
    def was_unmuted(self) -> bool:
        """Return whether an event of the alert lay within the schedules."""
        return self._was_unmuted

    def resume(self, zones: tuple[str, ...] | None, *, was_unmuted: bool) -> None:
        """Continue another worker's alert."""
        self._zones, self._was_unmuted = zones, was_unmuted

    def begin(self) -> None:
        """Forget the alert before: the next event is another alert's first."""
        self._zones, self._was_unmuted = None, False

    def take_peak(self, heat: Heat | None, width: int, height: int) -> None:
        """Take the heat of the alert's new peak, None where its model has none; see :meth:`CameraZones.holding`."""
        if heat is None or not self.camera.names_alerts:
            self._zones = None
        else:
            self._zones = self.camera.holding(heat, width, height)

    def zoned(self, event: AlertEvent, at: datetime | None) -> AlertEvent:
        """Return the alert's next event with its zones and its mute.

        Args:
            at: wall-clock time of the event's last clip, None when unknown.
        """
        outside = None if self._was_unmuted else self.camera.muting(self._zones, at)
        self._was_unmuted = outside is None
        return event.zoned(self._zones, outside)
