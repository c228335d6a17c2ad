"""`mistwatch learn` as an operator meets it: a model, a page, and one line for what cannot be learned from."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from in_process import called as mistwatch
from walking_films import pictures, write, write_two, yard

from models.detectors.base import read_detector
from pipeline.names import ascii_name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of one camera, 50 s."""
    return write_two(tmp_path_factory.mktemp("yard"), 50, 30)


def test_a_folder_becomes_a_model_and_a_page(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    status, output, problems = mistwatch("learn", folder, "--camera", "Süd", "--hold-out", "0.25", "--out", out)
    assert (status, problems) == (0, "gap: runs\nspeeds: runs\nkept/1: runs\nproduct: runs\n")
    assert "s of normal footage, " in output
    assert f"serve it with: mistwatch export --model {out}/product --out models" in output
    family, card = read_detector(out / "product")
    assert (family.name, card.camera, card.name) == ("motion", "Süd", f"{ascii_name('Süd')}-motion")
    assert "Süd: strangest moments" in (out / "strangest.html").read_text(encoding="utf-8")
    status, output, problems = mistwatch("learn", folder, "--camera", "Süd", "--hold-out", "0.25", "--out", out)
    assert (status, problems) == (0, "gap: unchanged\nspeeds: unchanged\nkept/1: unchanged\nproduct: unchanged\n")
    exclude = ("--exclude", "0:05-0:09", "--exclude", "0:48-1:00")
    status, output, problems = mistwatch("learn", folder, "--camera", "Süd", *exclude, "--out", out)
    assert (status, problems) == (0, "gap: runs\nspeeds: runs\nkept/1: runs\nproduct: runs\n")
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


OPTIONS = ("--camera", "yard", "--minutes", "0.5", "--hold-out", "0.25", "--out")


@pytest.fixture(scope="module")
def learned(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned half a minute."""
    out = tmp_path_factory.mktemp("learned") / "run"
    assert mistwatch("learn", folder, *OPTIONS, out)[0] == 0
    return out


def test_a_model_of_another_kind_is_not_replaced(folder: Path, learned: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(learned, tmp_path / "run"))
    options = (*OPTIONS, out)
    status, output, problems = mistwatch("learn", folder, "--detector", "student_teacher", *options)
    line = (
        f"mistwatch: {out}/product: would be replaced, and is a detector of another family (got motion); expected "
        "student_teacher; choose another folder for the run, or move this one away\n"
    )
    assert (status, output, problems) == (2, "", line)
    assert not (out / "pictures").exists()
    status, _, problems = mistwatch("learn", folder, *options)
    assert (status, problems) == (0, "gap: unchanged\nspeeds: unchanged\nkept/1: unchanged\nproduct: unchanged\n")


def test_an_update_adds_another_season(learned: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(learned, tmp_path / "run"))
    film = write(tmp_path / "summer.mp4", pictures(30, pace=2))
    status, output, problems = mistwatch("learn", film, "--update", *OPTIONS, out)
    assert (status, problems) == (0, "gap: runs\nspeeds: runs\nkept/2: runs\nproduct: runs\n")
    lines = output.splitlines()
    assert lines[0].startswith("learned from 48 s of normal footage, 12 s held back; ")
    assert lines[1] == "added 1 film of 30 s to 1 film of 30 s"  # the second one was not used
    assert re.fullmatch(
        r"held-back clips of the earlier footage above 0\.25 \(usual: at most 10%\): \d+% before, \d+% now; "
        r"at the threshold: 0% before, \d+% now \(of \d+\)",
        lines[2],
    )
    assert re.match(r"held-back clips of the added footage above .*: (9\d|100)% before, \d+% now; ", lines[3])
    assert re.match(r"threshold: 0\.\d+ before, 0\.\d+ now; all changes: .*/product/changes\.json$", lines[4])
    page = (out / "strangest.html").read_text(encoding="utf-8")
    assert "in summer.mp4" in page
    # Killed before the page was written, it is run again to the same result.
    (out / "strangest.html").unlink()
    status, again, problems = mistwatch("learn", film, "--update", *OPTIONS, out)
    assert (status, again) == (0, output)
    assert problems == "gap: unchanged\nspeeds: unchanged\nkept/2: unchanged\nproduct: unchanged\n"
    assert (out / "strangest.html").read_text(encoding="utf-8") == page


def test_an_update_of_another_camera_is_refused_before_the_recording(learned: Path) -> None:
    words = ("learn", "http://127.0.0.1:1/", "--update", *OPTIONS, learned, "--camera", "gate")
    line = "mistwatch: camera gate: not the camera that the detector has learned; expected yard\n"
    assert mistwatch(*words) == (2, "", line)
    assert not (learned / "footage-2").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "kernel=3"], "--set kernel=3: an update keeps the recipe of"),
        (["--detector", "fused"], "--detector fused: an update keeps the kind of"),
        (["--camera", "gate"], "camera gate: not the camera that the detector has learned; expected yard"),
        (
            ["--out", "/nowhere"],
            "/nowhere: holds no detector that can be updated: /nowhere/product: no model-card.json",
        ),
    ],
)
def test_an_update_of_something_else_is_one_line(learned: Path, folder: Path, options: list[str], message: str) -> None:
    words = ("learn", folder / "2.mp4", "--update", *OPTIONS, learned, *options)
    status, output, problems = mistwatch(*words)
    assert (status, output) == (2, "")
    assert problems.startswith(f"mistwatch: {message}")
    assert problems.count("\n") == 1


@pytest.mark.slow  # a learning; the family's own tests learn a memory bank
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
    assert (status, problems) == (0, "sample: runs\nbank: runs\ndistances: runs\nkept/1: runs\nproduct: runs\n")
    assert "clips of 1 frames at 10 fps" in output
    assert read_detector(out / "product")[1].name == "yard-memory-bank"
    assert "yard: strangest moments" in (out / "strangest.html").read_text(encoding="utf-8")


def test_an_estimator_is_chosen_by_its_option(folder: Path, tmp_path: Path, require: Callable[[str], NoReturn]) -> None:
    """On pooled features, whose page has pictures without heat."""
    from models.backbones import weights

    try:
        weights.load("efficientnet-lite0")
    except weights.WeightsError as error:
        require(str(error))
    out = tmp_path / "run"
    small = ("--set", "features=pooled", "--set", "height=64", "--set", "enlarge=1")
    options = ("--camera", "yard", "--minutes", "0.5", "--hold-out", "0.25", "--out", out)
    learn = ("learn", folder, "--detector", "outlier", "--estimator", "svm", *small, *options)
    status, output, problems = mistwatch(*learn)
    assert (status, problems) == (0, "sample: runs\nfit: runs\nvalues: runs\nkept/1: runs\nproduct: runs\n")
    assert "clips of 1 frames at 10 fps" in output
    assert read_detector(out / "product")[1].architecture.estimator == "svm"
    page = (out / "strangest.html").read_text(encoding="utf-8")
    assert "yard: strangest moments" in page
    assert "no picture" not in page
    status, _, problems = mistwatch("learn", folder / "2.mp4", "--update", "--estimator", "lof", *options)
    line = "mistwatch: --estimator lof: an update keeps the estimator; leave --estimator out\n"
    assert (status, problems) == (2, line)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--estimator lof: the detector has no estimator (got motion); expected --detector outlier"),
        (
            ["--detector", "memory_bank"],
            "--estimator lof: the detector has no estimator (got memory_bank); expected --detector outlier",
        ),
        (
            ["--detector", "outlier", "--set", "estimator=svm"],
            "--estimator lof: --set names an estimator, too; leave one of them out",
        ),
        (
            ["--detector", "outlier", "--set", "mode=outlier"],
            "recipe: the file: Value error, mode outlier needs the share of outliers, contamination, above 0; got 0",
        ),
    ],
)
def test_an_estimator_that_does_not_fit_is_one_line(
    folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    words = ("learn", folder, "--camera", "yard", "--estimator", "lof", *options, "--out", tmp_path / "run")
    assert mistwatch(*words) == (2, "", f"mistwatch: {message}\n")
    assert not (tmp_path / "run").exists()


def test_a_name_that_is_not_utf8_and_other_files_beside_it(folder: Path, tmp_path: Path) -> None:
    """The page shows a picture of each moment, and a line names the file that is not a film."""
    odd = tmp_path / "films"
    odd.mkdir()
    os.link(folder / "1.mp4", os.fsencode(odd) + b"/caf\xe9.mp4")
    (odd / "note.txt").write_text("quiet")
    out = tmp_path / "run"
    status, _, problems = mistwatch("learn", odd, "--camera", "yard", "--hold-out", "0.25", "--out", out)
    assert (status, problems.splitlines()[1:]) == (0, ["gap: runs", "speeds: runs", "kept/1: runs", "product: runs"])
    assert problems.startswith("mistwatch: passed over 1 file not recognised as video (1 .txt): ")
    page = (out / "strangest.html").read_text(encoding="utf-8")
    assert "in caf\\udce9.mp4" in page
    assert "no picture" not in page


@pytest.mark.slow  # realparts watches a learned camera, too, but live
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
