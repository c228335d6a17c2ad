"""`mistwatch learn` as an operator meets it: a model, a page, and one line for what cannot be learned from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from walking_films import pictures, write, write_two, yard

from models.detectors.base import read_detector
from pipeline.names import ascii_name


def mistwatch(*arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-P", "-m", "pipeline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of one camera, 50 s."""
    return write_two(tmp_path_factory.mktemp("yard"), 50, 30)


def test_a_folder_becomes_a_model_and_a_page(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    status, output, problems = mistwatch("learn", folder, "--camera", "Süd", "--hold-out", "0.25", "--out", out)
    assert (status, problems) == (0, "gap: runs\nspeeds: runs\nproduct: runs\n")
    assert "s of normal footage, " in output
    assert f"serve it with: mistwatch export --model {out}/product --out models" in output
    family, card = read_detector(out / "product")
    assert (family.name, card.camera, card.name) == ("motion", "Süd", f"{ascii_name('Süd')}-motion")
    assert "Süd: strangest moments" in (out / "strangest.html").read_text(encoding="utf-8")
    status, output, problems = mistwatch("learn", folder, "--camera", "Süd", "--hold-out", "0.25", "--out", out)
    assert (status, problems) == (0, "gap: unchanged\nspeeds: unchanged\nproduct: unchanged\n")
    exclude = ("--exclude", "0:05-0:09", "--exclude", "0:48-1:00")
    status, output, problems = mistwatch("learn", folder, "--camera", "Süd", *exclude, "--out", out)
    assert (status, problems) == (0, "gap: runs\nspeeds: runs\nproduct: runs\n")
    left_out = [line for line in output.splitlines() if line.startswith("left out: ")]
    assert left_out == [
        "left out: 0:00:05 to 0:00:09 of the footage (4 s)",
        "left out: 0:00:48 to 0:00:50 of the footage (2 s)",
    ]


def test_a_file_in_the_place_of_the_run_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    status, output, problems = mistwatch("learn", folder, "--camera", "yard", "--out", tmp_path / "run")
    line = f"mistwatch: {tmp_path}/run: not a folder; expected one for the run, or a new name\n"
    assert (status, output, problems) == (2, "", line)


def test_a_model_of_another_kind_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--camera", "yard", "--minutes", "0.5", "--hold-out", "0.25", "--out", out)
    assert mistwatch("learn", folder, *options)[0] == 0
    status, output, problems = mistwatch("learn", folder, "--detector", "student_teacher", *options)
    line = (
        f"mistwatch: {out}/product: would be replaced, and is a detector of another family (got motion); expected "
        "student_teacher; choose another folder for the run, or move this one away\n"
    )
    assert (status, output, problems) == (2, "", line)
    assert not (out / "pictures").exists()
    status, _, problems = mistwatch("learn", folder, *options)
    assert (status, problems) == (0, "gap: unchanged\nspeeds: unchanged\nproduct: unchanged\n")


def test_another_kind(folder: Path, tmp_path: Path, require: Callable[[str], NoReturn]) -> None:
    from models.backbones import weights

    try:
        weights.load("efficientnet-lite0")
    except weights.WeightsError as error:
        require(str(error))
    out = tmp_path / "run"
    small = ("--set", "sample=3000", "--set", "bank=200")
    options = ("--camera", "yard", "--minutes", "0.5", "--hold-out", "0.25", "--out", out)
    status, output, problems = mistwatch("learn", folder, "--detector", "memory_bank", *small, *options)
    assert (status, problems) == (0, "sample: runs\nbank: runs\ndistances: runs\nproduct: runs\n")
    assert "clips of 1 frames at 10 fps" in output
    assert read_detector(out / "product")[1].name == "yard-memory-bank"
    assert "yard: strangest moments" in (out / "strangest.html").read_text(encoding="utf-8")


def test_a_name_that_is_not_utf8_and_other_files_beside_it(folder: Path, tmp_path: Path) -> None:
    """The page shows a picture of each moment, and a line names the file that is not a film."""
    odd = tmp_path / "films"
    odd.mkdir()
    os.link(folder / "1.mp4", os.fsencode(odd) + b"/caf\xe9.mp4")
    (odd / "note.txt").write_text("quiet")
    out = tmp_path / "run"
    status, _, problems = mistwatch("learn", odd, "--camera", "yard", "--hold-out", "0.25", "--out", out)
    assert (status, problems.splitlines()[1:]) == (0, ["gap: runs", "speeds: runs", "product: runs"])
    assert problems.startswith("mistwatch: passed over 1 file not recognised as video (1 .txt): ")
    page = (out / "strangest.html").read_text(encoding="utf-8")
    assert "in caf\\udce9.mp4" in page
    assert "no picture" not in page


@pytest.mark.realparts
def test_the_model_watches_its_camera(folder: Path, tmp_path: Path) -> None:
    """On a real Triton: the one alert is that of the runner, with heat that is absolute."""
    film = write(tmp_path / "gate.mp4", pictures(30, running=[(15, 19)]))
    assert mistwatch("learn", folder, "--camera", "gate", "--out", tmp_path / "learned")[0] == 0
    model = tmp_path / "learned" / "product"
    status, _, problems = mistwatch("replay", film, "--model", model, "--out", tmp_path / "run")
    assert status == 0, problems
    begin, end = map(json.loads, (tmp_path / "run" / "alerts.jsonl").read_text().splitlines())
    assert (begin["data"]["state"], end["data"]["state"]) == ("begin", "end")
    assert 14.5 <= end["data"]["started_pts_seconds"] < end["data"]["ended_pts_seconds"] <= 20
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["heat"] == "anomaly"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> dict[str, Path]:
    films = tmp_path_factory.mktemp("bad")
    (films / "empty").mkdir()
    (films / "words.mp4").write_text("no pictures")
    return {
        "yard": folder,
        "missing": films / "missing.mp4",
        "empty": films / "empty",
        "words": films / "words.mp4",
        "short": write(films / "short.mp4", pictures(5)),
        "black": write(films / "black.mp4", [np.zeros_like(yard())] * 300),
        "turned": write(films / "turned.mp4", [*pictures(20), *[np.roll(one, 37, 1) for one in pictures(20)]]),
        "other": write(films / "other.mp4", pictures(20, seed=7)),
        "hourly": write(films / "hourly.mkv", pictures(12), times=[3600.0 * k for k in range(120)]),
        "flat": write(films / "flat.mp4", [one[40:46] for one in pictures(20)]),
        "small": write(films / "small.mp4", [one[:64] for one in pictures(20)]),
    }


@pytest.mark.parametrize(
    ("places", "options", "message"),
    [
        (["missing"], [], "missing.mp4: no such file or folder"),
        (["empty"], [], "a folder without videos; expected those of one camera"),
        (["words"], [], "words.mp4: not a video"),
        (["short"], [], "the footage is too short to hold any of it back (got 5 s"),
        (["black"], [], "the footage at 0:00:00 shows nothing (contrast 0.0 of 255; expected at least 2)"),
        (["turned"], [], "the footage at 0:00:20 shows another scene than at its start"),
        (["yard", "other"], [], "the camera was moved, or these are two cameras"),
        (["yard", "small"], [], "small.mp4: pictures of 160×64, and those of"),
        (["flat"], [], "flat.mp4: pictures of 160×6, of which 8×0 would be compared; expected at least 32×32"),
        (["hourly"], [], "its pictures come too seldom to compare them (got one in 3600 s); expected at least 7 in"),
        (
            ["hourly"],
            ["--detector", "memory_bank"],
            "too seldom to compare them (got one in 3600 s); expected at least 1",
        ),
        (["hourly"], ["--detector", "student_teacher"], "too seldom to compare them (got one in 3600 s); expected"),
        (["yard"], ["--hold-out", "0.9"], "--hold-out 0.9: expected a share from 0.05 to 0.5"),
        (["yard"], ["--minutes", "0"], "--minutes 0: expected a number above 0"),
        (["yard"], ["--exclude", "0:20"], "--exclude 0:20: expected FROM-TO on the footage's clock"),
        (["yard"], ["--exclude", "5:00-5:10"], "--exclude 0:05:00-0:05:10: the footage ends at 0:00:50"),
        (["yard"], ["--camera", "../x"], "--camera '../x': a name begins with a letter or digit"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(
    films: dict[str, Path], places: list[str], options: list[str], message: str, tmp_path: Path
) -> None:
    camera = [] if "--camera" in options else ["--camera", "yard"]
    out = tmp_path / "run"
    status, output, problems = mistwatch("learn", *[films[place] for place in places], *camera, *options, "--out", out)
    *_, line = problems.splitlines()
    assert (status, output) == (2, "")
    assert line.startswith("mistwatch: ")
    assert message in line
    assert not (out / "product").exists()
    assert not (out / "strangest.html").exists()
