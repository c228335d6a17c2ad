"""``mistwatch config zones``: one picture of a camera with its zones, and a line for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from in_process import called
from PIL import Image
from ports import free_port
from rtsp_server import serve_file
from site_runs import write_video
from tiny_films import film

ZONES = """
    zones:
      door: {points: [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]}
      hedge: {points: [[0, 0], [1, 0], [1, 0.2]], ignore: true}
      night: {points: [[0, 0.8], [1, 0.8], [1, 1], [0, 1]], schedule: {timezone: UTC, weekdays: [00:00-24:00], weekend: [00:00-24:00]}}
"""  # noqa: E501


def site(folder: Path, source: str, more: str = ZONES) -> Path:
    file = folder / "site.yaml"
    file.write_text(f"cameras:\n  gate:\n    source: {source}\n    open_timeout_seconds: 5\n{more}")
    return file


def test_a_picture_and_a_line_for_each_zone(tmp_path: Path) -> None:
    """A square of a quarter, a triangle of a tenth and a fifth at the bottom, on the synthetic scene."""
    file = site(tmp_path, "synthetic://courtyard?seed=3")
    status, output, problems = called("config", "zones", file, "--camera", "gate", folder=tmp_path)
    assert (status, problems) == (0, "")
    door, hedge, night, picture = output.splitlines()
    assert door == "door: 25.0% of the picture, no schedule"
    assert hedge == "hedge: 10.0% of the picture, ignored"
    assert night.startswith("night: 20.0% of the picture, inside its schedule now (")
    assert night.endswith(" in UTC)")
    assert picture == "picture: gate-zones.png"
    with Image.open(tmp_path / "gate-zones.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    side = pixels[round(0.75 * height) - 1 : round(0.75 * height) + 2, round(0.3 * width) : round(0.7 * width)]
    is_blue = (side[..., 2] - side[..., 0] > 60).any(axis=0)
    assert is_blue.mean() > 0.9  # the lower side of the door


def test_a_recording_and_a_file_of_another_name(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", frames=5)
    status, output, problems = called("config", "zones", site(tmp_path, "a.mp4"), "--out", tmp_path / "a.png")
    assert (status, problems) == (0, "")
    assert (tmp_path / "a.png").exists()
    assert output.splitlines()[-1] == f"picture: {tmp_path / 'a.png'}"


@pytest.mark.realparts
def test_a_camera_over_rtsp(tmp_path: Path) -> None:
    with serve_file(write_video(tmp_path / "a.mp4", [(5.0, 90)])) as server:
        status, output, problems = called("config", "zones", site(tmp_path, server.url), folder=tmp_path)
    assert (status, problems) == (0, "")
    assert output.splitlines()[0] == "door: 25.0% of the picture, no schedule"
    with Image.open(tmp_path / "gate-zones.png") as image:
        assert image.size == (320, 180)


def test_a_camera_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    port = free_port()
    status, output, problems = called("config", "zones", site(tmp_path, f"rtsp://127.0.0.1:{port}/a"), folder=tmp_path)
    assert (status, output) == (1, "")
    assert problems == (
        f"mistwatch: camera gate: rtsp://127.0.0.1:{port}/a: connection refused: nothing listens there; is the camera "
        "on, is the port right?\n"
    )
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("typed", ["Zufahrt-S\u00fcd", "Zufahrt-Su\u0308d"])
def test_a_name_may_be_typed_in_any_form_of_unicode(tmp_path: Path, typed: str) -> None:
    film(tmp_path / "a.mp4", frames=5)
    file = site(tmp_path, "a.mp4", ZONES)
    file.write_text(file.read_text().replace("gate:", "Zufahrt-Su\u0308d:") + "  yard: {source: a.mp4}\n")
    status, output, problems = called("config", "zones", file, "--camera", typed, "--out", tmp_path / "a.png")
    assert (status, problems) == (0, "")
    assert output.startswith("door: 25.0% of the picture, no schedule\n")


def test_a_schedule_without_zones_is_enough(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", frames=5)
    file = site(tmp_path, "a.mp4", "    schedule: {timezone: UTC, weekdays: [00:00-24:00], weekend: [00:00-24:00]}\n")
    status, output, problems = called("config", "zones", file, "--out", tmp_path / "a.png")
    assert (status, problems) == (0, "")
    schedule, picture = output.splitlines()
    assert schedule.startswith("camera gate: inside its schedule now (")
    assert picture == f"picture: {tmp_path / 'a.png'}"


NOTHING = "{file}: camera gate has no zones and no schedule; add them as cameras.gate.zones and .schedule"


@pytest.mark.parametrize(
    ("words", "more", "problem"),
    [
        (["--camera", "yard"], ZONES, "--camera: unknown camera yard; expected gate"),
        (["--out", "a.jpg"], ZONES, "--out a.jpg: not the name of a PNG file; expected FILE.png"),
        ([], "", NOTHING),
        (
            [],
            "  yard: {source: a.mp4}\n",
            "--camera: missing (the site has several); expected gate or yard",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path: Path, words: list[str], more: str, problem: str) -> None:
    file = site(tmp_path, "synthetic://courtyard", more)
    status, output, problems = called("config", "zones", file, *words, folder=tmp_path)
    assert (status, output) == (2, "")
    assert problems == f"mistwatch: {problem.format(file=file)}\n"


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "a.png"
    status, _, problems = called("config", "zones", site(tmp_path, "synthetic://courtyard"), "--out", target)
    assert (status, problems) == (1, f"mistwatch: cannot write {target}: No such file or directory\n")
