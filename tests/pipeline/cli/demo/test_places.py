"""The demo's truth about places and things, on rendered incidents whose figures and box are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.alerts.place import Place
from pipeline.cli.demo.places import PlacesRight, PlaceTruth
from pipeline.courtyard.figures import Stance
from pipeline.courtyard.layout import WALKWAY
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, IncidentKind, SceneSettings

#: The things that each kind of incident consists of.
THINGS = {
    IncidentKind.CART: {"cart"},
    IncidentKind.BICYCLE: {"bicycle"},
    IncidentKind.RUNNER: {"person"},
    IncidentKind.FALL: {"person"},
    IncidentKind.SCUFFLE: {"person"},
    IncidentKind.SCATTER: {"person"},
}


@pytest.fixture(scope="module")
def scene() -> Courtyard:
    return Courtyard(SceneSettings(seed=11, fps=12.5, seconds=90))


def test_things_are_those_of_the_incidents_kind(scene: Courtyard) -> None:
    truth = PlaceTruth(scene)
    assert len({incident.kind for incident in scene.incidents}) >= 3
    for incident in scene.incidents:
        middle = (incident.first_frame + incident.last_frame) // 2
        # People may carry an umbrella or a bag, also in an incident.
        assert truth.things_of(middle) - {"umbrella", "bag"} == THINGS[incident.kind]


@pytest.mark.parametrize(
    ("x", "z", "ground"),
    [
        (0.0, 6.6, "paving"),  # between camera and walkway
        (0.5, sum(WALKWAY) / 2, "walkway"),
        (-1.5, 12.0, "paving"),  # between walkway and lawn
        (6.0, 16.0, "lawn"),
    ],
)
def test_a_place_is_the_ground_on_which_the_incident_stands(x: float, z: float, ground: str) -> None:
    """The ground is known by the layout of the courtyard, in metres; a bag stands there, in an incident."""
    scene = Courtyard(SceneSettings(seed=11, fps=1, seconds=60, incidents_per_minute=1, abandoned=True))
    (incident,) = scene.incidents
    frame = incident.first_frame + 5
    stands = Stance(x, z, 0.0, 0.0, 0.0)
    (bag,) = [posed for posed in scene._script.cast(float(frame)) if posed.in_incident]
    scene._script.cast = lambda _seconds: [replace(bag, stance=stands)]
    assert PlaceTruth(scene).place_of(frame) == ground


def test_all_incidents_happen_on_the_ground_and_vehicles_keep_to_the_walkway(scene: Courtyard) -> None:
    truth = PlaceTruth(scene)
    vehicles = (IncidentKind.CART, IncidentKind.BICYCLE)
    assert any(incident.kind in vehicles for incident in scene.incidents)
    for incident in scene.incidents:
        middle = (incident.first_frame + incident.last_frame) // 2
        possible = {"walkway"} if incident.kind in vehicles else {"paving", "walkway", "path", "lawn"}
        assert truth.place_of(middle) in possible


def test_a_place_counts_by_its_last_class_and_an_alert_without_one_as_wrong(scene: Courtyard) -> None:
    truth = PlaceTruth(scene)
    incident = scene.incidents[0]
    frame = incident.first_frame + 5
    place = truth.place_of(frame)
    thing = sorted(truth.things_of(frame))[0]
    assert place is not None
    right = Place(version="v", place=("ground", place), object=("any", thing))
    assert truth.right(right, incident, frame) == PlacesRight(1, 1, 1)
    assert truth.right(Place(version="v", place=("ground",), object=None), incident, frame) == PlacesRight(1, 0, 0)
    assert truth.right(None, incident, frame) == PlacesRight(1)
    assert PlacesRight(1, 1, 0) + PlacesRight(2, 1, 2) == PlacesRight(3, 2, 2)


def test_a_peak_before_the_incident_is_compared_with_its_first_frame(scene: Courtyard) -> None:
    truth = PlaceTruth(scene)
    incident = scene.incidents[0]
    assert isinstance(incident, Incident)
    place = truth.place_of(incident.first_frame)
    assert place is not None
    named = Place(version="v", place=(place,), object=None)
    assert truth.right(named, incident, incident.first_frame - 20).place == 1
