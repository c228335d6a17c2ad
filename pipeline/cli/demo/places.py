"""The demo's truth about places and things: what the renderer knows of an alert's peak, and how often alerts agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.alerts.place import Place
from pipeline.courtyard.segments import CLASSES, VOID
from pipeline.courtyard.settings import Incident

if TYPE_CHECKING:
    from pipeline.courtyard.scene import Courtyard


@dataclass(frozen=True, slots=True)
class PlacesRight:
    """Alerts whose place and thing are right, among those about an incident.

    Attributes:
        alerts: about an incident.
        place: of these, with the class of the ground or wall at the incident's foot.
        object: of these, with the class of a thing that takes part in the incident.
    """

    alerts: int = 0
    place: int = 0
    object: int = 0

    def __add__(self, other: PlacesRight) -> PlacesRight:
        return PlacesRight(self.alerts + other.alerts, self.place + other.place, self.object + other.object)


class PlaceTruth:
    """The places and things of one rendered camera's incidents."""

    def __init__(self, scene: Courtyard) -> None:
        self._scene = scene

    def right(self, place: Place | None, incident: Incident, frame: int) -> PlacesRight:
        """Compare an alert's place with the truth.

        Args:
            place: of the alert; None counts as wrong.
            incident: that the alert is about.
            frame: at the alert's peak; the nearest frame of the incident counts.
        """
        if place is None:
            return PlacesRight(1)
        frame = min(max(frame, incident.first_frame), incident.last_frame)
        named = None if place.place is None else place.place[-1]
        thing = None if place.object is None else place.object[-1]
        return PlacesRight(1, int(named == self.place_of(frame)), int(thing in self.things_of(frame)))

    def place_of(self, frame: int) -> str | None:
        """Return the class of the empty scene at the incident's foot: below the middle of its box."""
        seen = self._scene.truth(frame)
        if not seen:
            return None
        left, _, right, bottom = seen[0].box
        standing = self._scene.standing
        row = min(bottom, standing.shape[0]) - 1
        found = int(standing[row, min((left + right) // 2, standing.shape[1] - 1)])
        return None if found == VOID else CLASSES[found]

    def things_of(self, frame: int) -> frozenset[str]:
        """Return the classes of the things that take part in the incident."""
        return frozenset(thing.name for thing in self._scene.things(frame) if thing.in_incident)
