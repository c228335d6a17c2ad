"""Places on real servers: a Triton with a detector that has HEAT and a model of places, and a broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from site_runs import BRIGHT, DARK, site, write_video
from tiny_places import HEIGHT, PATHS, WIDTH, classes_by_torch, write_places
from triton_of_brightness import Server, write_repository

from models.places.served.card import read_served_card, version_of
from models.places.served.export import export_places
from operators.places import object_in
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.place_map import PlaceMap, read_place_map, write_place_map
from pipeline.alerts.reading import Event
from pipeline.live.service import Service
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable
from pipeline.settings import PlacesSettings, Site

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

THINGS = frozenset({3, 4, 5})


class Served:
    """A Triton with the detector ``heated`` and the models of places ``places`` and ``hot``, which is no such model."""

    def __init__(self, triton: Server, folder: Path) -> None:
        self.address = triton.address
        self.model = write_places(folder / "places", seed=0)
        self.version = version_of(read_served_card(export_places(self.model, triton.repository) / "1"))


@pytest.fixture(scope="module")
def served(triton: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    write_repository(triton.repository, "heated", heat="anomaly")
    found = Served(triton, tmp_path_factory.mktemp("places"))
    for model in ("heated", "places"):
        triton.load(model)
    yield found
    for model in ("heated", "places"):
        triton.unload(model)


def a_site(folder: Path, served: Served, broker: str, video: Path, *, model: str = "places", **more: Any) -> Site:
    settings: Site = site(
        folder,
        served.address,
        broker,
        {"cam": {"source": str(video), "start_time": "2026-03-01T12:00:00Z"}},
        alerts={"min_clips": 1, "cooldown_seconds": 0.5},
        **more,
    )
    heated = settings.triton.model_copy(update={"model": "heated"})
    return settings.model_copy(update={"triton": heated, "places": PlacesSettings(model=model)})


def run(settings: Site) -> list[AlertEvent]:
    """Run a site to its end."""
    events: list[Event] = []
    service = Service(settings, run="r", published=events.append)
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.wait(120)
    finally:
        left = service.close(relay_seconds=60)
    assert left == 0
    return [event for event in events if isinstance(event, AlertEvent)]


def the_map(served: Served, folder: Path, *, version: str | None = None) -> PlaceMap:
    """Write a map of two halves for the camera."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[:, WIDTH // 2 :] = 1
    made = PlaceMap(
        "cam",
        version or served.version,
        PATHS,
        THINGS,
        classes,
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        datetime.now(UTC),
        9,
    )
    write_place_map(folder, made)
    return made


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mp4", [(2.0, DARK), (2.0, BRIGHT), (2.0, DARK)])


@pytest.mark.parametrize("side", [0, 1])
def test_an_alert_has_the_place_of_the_map_and_the_thing_of_the_models_decision(
    tmp_path: Path, served: Served, broker: str, side: int
) -> None:
    """One half of the film is bright: the heat is there, and the map has a class for each half."""
    half = (DARK, BRIGHT) if side == 1 else (BRIGHT, DARK)
    film = write_video(tmp_path / "film.mp4", [(2.0, DARK), (2.0, half), (2.0, DARK)])
    settings = a_site(tmp_path, served, broker, film)
    the_map(served, settings.state_dir)
    events = run(settings)
    assert events
    grey = np.full((HEIGHT, WIDTH, 3), half[0], np.uint8)
    grey[:, WIDTH // 2 :] = half[1]
    thing = object_in(classes_by_torch(served.model, grey), (side / 2, 0, side / 2 + 0.5, 1), THINGS)
    for event in events:
        place = event.data.place
        assert place is not None
        assert (place.version, place.place) == (served.version, PATHS[side])
        assert place.object == (None if thing is None else PATHS[thing])


def test_a_camera_without_a_map_gets_one_from_its_first_pictures(tmp_path: Path, served: Served, broker: str) -> None:
    settings = a_site(tmp_path, served, broker, write_video(tmp_path / "film.mp4", [(15.0, DARK)]))
    run(settings)
    made = read_place_map(settings.state_dir, "cam")
    assert made is not None
    assert (made.version, made.pictures) == (served.version, 5), "five pictures, 2 s apart, take 8 to 10 s of footage"
    assert abs(int(made.picture.mean()) - DARK) <= 3
    assert np.mean(made.classes == classes_by_torch(served.model, made.picture)) >= 0.99


def test_a_map_that_an_operator_made_is_kept_and_one_of_another_version_is_made_again(
    tmp_path: Path, served: Served, broker: str
) -> None:
    film = write_video(tmp_path / "film.mp4", [(15.0, DARK)])
    settings = a_site(tmp_path, served, broker, film)
    the_map(served, settings.state_dir)
    run(settings)
    kept = read_place_map(settings.state_dir, "cam")
    assert kept is not None
    assert kept.pictures == 9
    the_map(served, settings.state_dir, version="places/of-yesterday")
    run(settings)
    renewed = read_place_map(settings.state_dir, "cam")
    assert renewed is not None
    assert (renewed.version, renewed.pictures) == (served.version, 5)


def test_a_model_that_is_not_there_or_of_another_kind_is_refused(
    tmp_path: Path, served: Served, broker: str, film: Path
) -> None:
    for model, error in (("absent", ScorerUnavailable), ("heated", ClipMismatch)):
        service = Service(a_site(tmp_path, served, broker, film, model=model), run="r")
        try:
            with pytest.raises(error, match=model):
                service.prepare(threading.Event(), patient=False)
        finally:
            service.close(relay_seconds=5)


def test_a_patient_site_starts_without_its_model_and_alerts_go_out_within_the_hold(
    tmp_path: Path, served: Served, broker: str, film: Path
) -> None:
    events: list[Event] = []
    service = Service(a_site(tmp_path, served, broker, film, model="absent"), run="r", published=events.append)
    try:
        assert service.prepare(threading.Event(), patient=True)
        began = time.monotonic()
        service.start()
        assert service.wait(120)
        assert time.monotonic() - began < 25, "an alert of a recording waits for a model that is there"
    finally:
        service.close(relay_seconds=60)
    alerts = [event for event in events if isinstance(event, AlertEvent)]
    assert alerts
    assert all(event.data.place is None for event in alerts)
