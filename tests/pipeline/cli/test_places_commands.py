"""`mistwatch places` and the other commands around a model of places, as a person meets them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
import cv2
import numpy as np
import pytest
from in_process import called
from tiny_places import HEIGHT, WIDTH, classes_by_torch, noise, write_places
from triton_of_brightness import Server

from models.places.served.card import read_served_card, version_of
from models.serving import versions
from pipeline.alerts.place_map import PlaceMap, place_map_file, read_place_map, write_place_map

FPS = 10


def film(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    """A lossless film of RGB pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.height, stream.width, _ = pictures[0].shape
        stream.pix_fmt = "bgr0"
        stream.codec_context.time_base = Fraction(1, FPS)
        for ordinal, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = ordinal
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def walk(seconds: int) -> list[np.ndarray]:
    """Pictures of a scene through which a black square walks once; it is nowhere in more than a third of them."""
    pictures = []
    count = seconds * FPS
    for number in range(count):
        picture = noise()
        left = int(number / count * (WIDTH - 16))
        picture[16:32, left : left + 16] = 0
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_places(tmp_path_factory.mktemp("places") / "model")


@pytest.fixture(scope="module")
def server(
    model: Path, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[Server]:
    """A Triton that serves the tiny detector and the tiny model of places."""
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    server = Server(tmp_path_factory.mktemp("served"))
    server.start()
    assert called("export", "--model", model, "--out", server.repository, "--triton", server.address)[0] == 0
    yield server
    server.stop()


def site(folder: Path, source: str, address: str = "127.0.0.1:1", places: str = "places: {}") -> Path:
    """A site's file with the camera gate."""
    file = folder / "site.yaml"
    file.write_text(f"triton: {{address: '{address}'}}\n{places}\ncameras:\n  gate: {{source: '{source}'}}\n")
    return file


def some_map(version: str = "places-tiny/0123") -> PlaceMap:
    return PlaceMap(
        camera="gate",
        version=version,
        nodes=(("ground",), ("ground", "walkway"), ("ground", "lawn"), ("vehicle", "cart")),
        things=frozenset({3}),
        classes=np.array([[1, 1, 2, 2], [1, 1, 3, 2]], np.uint8),
        picture=np.full((2, 4, 3), 100, np.uint8),
        learned_at=datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
        pictures=25,
    )


@pytest.mark.realparts
class TestLearn:
    def test_the_median_picture_of_a_film_is_classified(self, server: Server, model: Path, tmp_path: Path) -> None:
        film(tmp_path / "gate.mkv", walk(12))
        status, said, errors = called("places", "learn", site(tmp_path, "gate.mkv", server.address), "--camera", "gate")
        assert (status, errors) == (0, "")
        found = read_place_map(tmp_path / "mistwatch-state", "gate")
        assert found is not None
        assert np.array_equal(found.picture, noise()), "the walking square is in no median"
        assert (found.classes == classes_by_torch(model, noise())).mean() >= 0.99
        assert found.version == version_of(read_served_card(server.repository / "places"))
        assert found.pictures == 25
        lines = said.splitlines()
        assert lines[0].startswith("gate: median of 25 pictures, ")
        assert lines[-1] == f"wrote {place_map_file(tmp_path / 'mistwatch-state', 'gate')}"
        assert sum(float(line.split("%")[0]) for line in lines[1:-1]) == pytest.approx(100, abs=0.3)
        status, shown, errors = called("places", "show", tmp_path / "site.yaml", "--camera", "gate")
        assert (status, shown.splitlines(), errors) == (0, lines[:-1], "")

    def test_fewer_pictures_of_the_first_minutes(self, server: Server, tmp_path: Path) -> None:
        still, changed = [noise()] * 60, [noise(9)] * 60
        film(tmp_path / "gate.mkv", still + changed)
        file = site(tmp_path, "gate.mkv", server.address)
        options = ["--camera", "gate", "--pictures", "5", "--minutes", "0.1"]
        assert called("places", "learn", file, *options)[0] == 0
        found = read_place_map(tmp_path / "mistwatch-state", "gate")
        assert found is not None
        assert found.pictures == 5
        assert np.array_equal(found.picture, noise())

    def test_a_live_camera_is_watched_for_the_time(self, server: Server, tmp_path: Path) -> None:
        file = site(tmp_path, "synthetic://courtyard?seed=3&fps=5&width=640", server.address)
        options = ["--camera", "gate", "--pictures", "4", "--minutes", "0.05"]
        status, _, errors = called("places", "learn", file, *options)
        assert (status, errors) == (0, "")
        found = read_place_map(tmp_path / "mistwatch-state", "gate")
        assert found is not None
        assert found.pictures == 4
        assert found.classes.shape == (HEIGHT, WIDTH)

    def test_a_film_that_is_too_short(self, server: Server, tmp_path: Path) -> None:
        film(tmp_path / "gate.mkv", walk(12)[:2])
        status, said, errors = called("places", "learn", site(tmp_path, "gate.mkv", server.address), "--camera", "gate")
        assert (status, said) == (1, "")
        assert errors == (
            "mistwatch: camera gate: too few pictures for a median (got 2; expected at least 3); use longer footage\n"
        )
        assert not (tmp_path / "mistwatch-state").exists()

    def test_a_source_that_is_missing_and_a_camera_that_is_away(self, server: Server, tmp_path: Path) -> None:
        for source, status in (("gate.mkv", 2), ("rtsp://127.0.0.1:1/gate", 1)):
            found = called("places", "learn", site(tmp_path, source, server.address), "--camera", "gate")
            assert found[:2] == (status, "")
            assert found[2].startswith("mistwatch: camera gate: ")
            assert found[2].count("\n") == 1

    def test_a_model_of_another_kind(self, server: Server, tmp_path: Path) -> None:
        film(tmp_path / "gate.mkv", walk(1))
        file = site(tmp_path, "gate.mkv", server.address, "places: {model: clip_scorer}")
        status, said, errors = called("places", "learn", file, "--camera", "gate")
        assert (status, said) == (2, "")
        assert errors.startswith(f"mistwatch: the model clip_scorer at {server.address} is not a model of places (")
        assert errors.count("\n") == 1


class TestRefused:
    @pytest.mark.parametrize("command", ["learn", "show"])
    def test_a_site_without_places_and_an_unknown_camera(self, tmp_path: Path, command: str) -> None:
        file = site(tmp_path, "gate.mkv", places="")
        assert called("places", command, file, "--camera", "gate") == (
            2,
            "",
            f"mistwatch: {file}: places: missing; expected a section `places: {{model: NAME}}` that names a served "
            "model of places\n",
        )
        site(tmp_path, "gate.mkv")
        status, said, errors = called("places", command, file, "--camera", "yard")
        assert (status, said, errors) == (2, "", "mistwatch: --camera: unknown camera yard; expected gate\n")

    def test_a_server_that_is_away(self, tmp_path: Path) -> None:
        status, said, errors = called("places", "learn", site(tmp_path, "gate.mkv"), "--camera", "gate")
        assert (status, said) == (1, "")
        assert errors.startswith("mistwatch: Triton at 127.0.0.1:1 cannot be reached (")
        assert errors.count("\n") == 1

    def test_a_camera_without_a_map(self, tmp_path: Path) -> None:
        file = site(tmp_path, "gate.mkv")
        assert called("places", "show", file, "--camera", "gate") == (
            1,
            "",
            f"mistwatch: camera gate: no place map yet; make one: mistwatch places learn {file} --camera gate\n",
        )

    def test_a_damaged_map(self, tmp_path: Path) -> None:
        file = place_map_file(tmp_path / "mistwatch-state", "gate")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"nothing")
        status, said, errors = called("places", "show", site(tmp_path, "gate.mkv"), "--camera", "gate")
        assert (status, said) == (1, "")
        assert errors.startswith(f"mistwatch: place map {file}: not a place map (")
        assert errors.count("\n") == 1


class TestShow:
    TABLE = (
        "gate: median of 25 pictures, 2026-05-01 12:30Z, by places-tiny/0123\n"
        " 50.0%  ground > walkway\n"
        " 37.5%  ground > lawn\n"
        " 12.5%  vehicle > cart (thing)\n"
    )

    def test_the_table_and_the_picture_without_a_server(self, tmp_path: Path) -> None:
        write_place_map(tmp_path / "mistwatch-state", some_map())
        out = tmp_path / "map.png"
        status, said, errors = called("places", "show", site(tmp_path, "gate.mkv"), "--camera", "gate", "--out", out)
        assert (status, said) == (0, f"{self.TABLE}wrote {out}\n")
        assert errors.startswith(
            "mistwatch: not compared with the served model: Triton at 127.0.0.1:1 cannot be reached ("
        )
        picture = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB)
        assert picture.shape == (320, 640 + 420, 3)
        # Colours of the second, third and fourth class: 0.6 of them, and 0.4 of a grey of 100.
        corners = {(80, 80): (86, 180, 233), (80, 560): (0, 158, 115), (240, 400): (240, 228, 66)}
        for (row, column), colour in corners.items():
            assert picture[row, column] == pytest.approx(0.6 * np.array(colour) + 40, abs=0.5)

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        write_place_map(tmp_path / "mistwatch-state", some_map())
        out = tmp_path / "missing" / "map.png"
        status, _, errors = called("places", "show", site(tmp_path, "gate.mkv"), "--camera", "gate", "--out", out)
        assert status == 1
        assert errors.splitlines()[-1] == f"mistwatch: cannot write {out}: No such file or directory"

    @pytest.mark.realparts
    def test_a_map_of_another_version(self, server: Server, tmp_path: Path) -> None:
        write_place_map(tmp_path / "mistwatch-state", some_map())
        file = site(tmp_path, "gate.mkv", server.address)
        served = version_of(read_served_card(server.repository / "places"))
        assert called("places", "show", file, "--camera", "gate") == (
            0,
            self.TABLE,
            f"mistwatch: camera gate: the place map is of places-tiny/0123, and {served} is served, so that alerts go "
            "without it; renew it: mistwatch places learn\n",
        )


class TestOtherCommands:
    def test_export_and_versions(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        status, said, errors = called("export", "--model", model, "--out", out)
        assert (status, errors) == (0, "")
        assert said.startswith(f"{out / 'places'}: version 1, ")
        called("export", "--model", model, "--out", out)
        about = f"places-tiny (places {version_of(read_served_card(out / 'places'))}), 4 classes, pictures of 64×48"
        assert called("versions", "list", out) == (0, f"1          {about}\n2  served  {about}\n", "")
        assert called("versions", "rollback", out)[0] == 0
        assert versions.served(out / "places") == 1

    @pytest.mark.parametrize("options", [("--into", "motion"), ("--engine", "torch"), ("--max-batch", "4")])
    def test_options_of_detectors_are_one_line(self, model: Path, tmp_path: Path, options: tuple[str, str]) -> None:
        assert called("export", "--model", model, "--out", tmp_path / "out", *options) == (
            2,
            "",
            "mistwatch: --into, --engine, --max-batch, --share-backbone: leave them out; "
            f"{model} is a model of places, which has no parts and one engine\n",
        )

    def test_it_is_not_a_detector_to_replay_with(self, model: Path, tmp_path: Path) -> None:
        film(tmp_path / "gate.mkv", walk(1))
        status, _, errors = called("replay", tmp_path / "gate.mkv", "--model", model, "--out", tmp_path / "run")
        assert (status, errors) == (
            2,
            f"mistwatch: {model} is a model of places, which scores no clips; expected a detector\n",
        )
