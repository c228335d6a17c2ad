"""A camera's place map: made of pictures, through outages, restarts and an exchange of the model."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.alerts import place_map
from pipeline.alerts.place_map import PlaceMap, read_place_map, write_place_map
from pipeline.live.camera_map import CameraMap, Median
from pipeline.scoring.places import Classified, PlacesModel

NODES = (("ground",), ("person",))
CLASSES = np.zeros((18, 32), np.uint8)
PICTURE = np.zeros((18, 32, 3), np.uint8)


def model(version: str = "v/1") -> PlacesModel:
    return PlacesModel("places", version, "1", 18, 32, NODES, frozenset({1}))


def wait_for_writers() -> None:
    for thread in threading.enumerate():
        if thread.name == "place-map":
            thread.join()


class Camera:
    """A camera whose clips of 1.28 s come one after the other; its map, and the model's answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.map = CameraMap(folder, "gate")
        self.seconds = 0.0

    def watch(self, seconds: float, version: str = "v/1", *, away: bool = False) -> None:
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += 1.28
            if self.map.wants("s", self.seconds, version) and (median := self.map.add(PICTURE)) is not None:
                self.answer(median, version, away=away)

    def answer(self, median: Median, version: str = "v/1", *, away: bool = False) -> None:
        self.map.take(median, None if away else Classified(CLASSES, model(version)))
        wait_for_writers()
        self.map._look_at = 0.0  # the file is looked at once a second

    @property
    def pictures(self) -> tuple[int, bool]:
        """Number of pictures of the file's map, and whether it is provisional."""
        found = read_place_map(self.folder, "gate")
        assert found is not None
        return found.pictures, found.provisional


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    return Camera(tmp_path)


def operators(version: str = "v/1") -> PlaceMap:
    return PlaceMap("gate", version, NODES, frozenset({1}), CLASSES, PICTURE, datetime.now(UTC), 25)


def test_a_map_grows_in_three_steps_and_then_stays(camera: Camera) -> None:
    camera.watch(14)
    assert camera.pictures == (5, True)
    camera.watch(15)
    assert camera.pictures == (11, True)
    camera.watch(30)
    assert camera.pictures == (21, False)
    before = (camera.folder / "places" / "gate.npz").stat().st_mtime_ns
    camera.watch(600)
    assert (camera.folder / "places" / "gate.npz").stat().st_mtime_ns == before


def test_after_an_outage_of_the_first_minutes_the_map_comes(camera: Camera) -> None:
    camera.watch(300, away=True)
    assert read_place_map(camera.folder, "gate") is None
    camera.watch(20)
    assert camera.pictures == (21, False)


def test_a_worker_that_starts_again_goes_on_from_a_provisional_map(camera: Camera) -> None:
    camera.watch(30)
    assert camera.pictures == (11, True)
    again = Camera(camera.folder)
    again.watch(14)
    assert again.pictures == (11, True), "five pictures do not replace eleven"
    again.watch(60)
    assert again.pictures == (21, False)


def test_an_exchanged_model_gets_a_map_of_its_own(camera: Camera) -> None:
    camera.watch(60)
    camera.watch(14, "v/2")
    found = camera.map.of_version("v/2")
    assert found is not None
    assert (found.version, found.pictures) == ("v/2", 5)
    assert camera.map.of_version("v/1") is None


def test_an_operators_map_is_never_replaced_also_by_an_answer_on_its_way(camera: Camera) -> None:
    median = None
    while median is None:
        camera.seconds += 2.5
        assert camera.map.wants("s", camera.seconds, "v/1")
        median = camera.map.add(PICTURE)
    write_place_map(camera.folder, operators())
    camera.answer(median)
    assert camera.pictures == (25, False)
    camera.watch(600)
    assert camera.pictures == (25, False)


def test_a_slow_disk_holds_up_no_one(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    real = place_map.files.write_bytes

    def slow(*arguments: object) -> None:
        released.wait(30)
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(place_map.files, "write_bytes", slow)
    began = time.monotonic()
    camera.map.take(Median(PICTURE, 5), Classified(CLASSES, model()))
    assert camera.map.wants("s", 100.0, "v/1")
    assert time.monotonic() - began < 5
    released.set()
    wait_for_writers()
    assert camera.pictures == (5, True)
