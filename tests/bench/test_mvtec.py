"""The protocol of MVTec AD on a small stand-in: learned from a folder of pictures, and judged by place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from good_parts import DEFECT, bad, good, write_category
from in_process import called
from tiny_teachers import write_teachers

from models.detectors.base import read_detector
from operators.drift import LEVEL
from operators.motion import CELL
from pipeline.errors import MistwatchError

LEARNED, TESTED = 64, 4


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mvtec")
    write_category(folder / "grid", learned=LEARNED, tested=TESTED)
    (folder / "license.txt").write_text("none")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    teachers = write_teachers(tmp_path_factory.mktemp("teachers") / "tiny")
    return ["--set", f"teachers={teachers}", "--set", "steps=60", "--set", "students=2"]


@pytest.fixture(scope="module")
def kept(load, archive: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mvtec", "--data", str(archive), "--kept", str(folder), "--results", str(folder)])
        sys.argv += settings
        load("mvtec").main()
    return folder


def test_the_bench_writes_the_figures_of_a_category_and_their_mean(kept: Path) -> None:
    results = json.loads((kept / "mvtec-student_teacher.json").read_text())
    found = results["categories"]["grid"]
    assert (found["tested"], found["defects"]) == (2 * TESTED, TESTED)
    assert found["learned"] + found["held_back"] == LEARNED
    assert found["held_back"] >= 20
    assert found["picture_auc"]["value"] == 1.0
    assert found["pixel_auc"]["value"] > 0.9
    assert found["pro"]["value"] > 0.7
    assert results["mean"] == {name: found[name]["value"] for name in ("picture_auc", "pixel_auc", "pro")}
    assert "| mean of 1 |" in (kept / "mvtec-student_teacher.md").read_text()


def test_the_detector_finds_the_place_of_a_defect(kept: Path) -> None:
    family, card = read_detector(kept / "grid" / "product")
    scorer = family.load(card, kept / "grid" / "product", lambda _: None).open()
    random = np.random.default_rng(1)
    for _ in range(4):
        picture, mask = bad(random)
        heat = scorer.run(picture[None, None])["HEAT"][0]
        row, column = (CELL * int(at) + CELL // 2 for at in np.unravel_index(heat.argmax(), heat.shape))
        rows, columns = np.nonzero(mask)
        assert rows.min() - CELL <= row <= rows.max() + CELL
        assert columns.min() - CELL <= column <= columns.max() + CELL
        assert mask.sum() == 255 * DEFECT**2
        strange, usual = (float(scorer.run(one[None, None])["SCORE"][0, 0]) for one in (picture, good(random)))
        assert strange > LEVEL  # reached by a tenth of the normal ones
        assert usual < min(strange, card.alerting.open_threshold)


def test_the_command_learns_the_same_detector(
    kept: Path,
    archive: Path,
    settings: list[str],
) -> None:
    """It finds the bench's stages up to date, and adds the page of the strangest pictures."""
    card = read_detector(kept / "grid" / "product")[1]
    hold_out = card.training["footage"]["hold_out"]
    options = ("--camera", "grid", "--detector", "student_teacher", "--hold-out", hold_out, "--out", kept / "grid")
    source = archive.resolve() / "grid" / "train" / "good"
    status, output, problems = called("learn", source, *options, *settings)
    assert (status, problems) == (
        0,
        "pictures: unchanged\nstudents: unchanged\nmaps: unchanged\nproduct: unchanged\n",
    )
    learned, held_back = (round(card.training[f"{part}_seconds"]) for part in ("learned", "held_back"))
    assert output.startswith(f"learned from {learned} normal pictures, {held_back} held back; 96×96 pixels\n")
    page = (kept / "grid" / "strangest.html").read_text(encoding="utf-8")
    assert f"learned from {LEARNED} pictures as normal" in page
    assert page.count("<img ") == page.count(".png</h3>") == 12
    assert "--exclude" not in page


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((), "a folder of pictures, and motion compares the pictures of films; expected films, or --detector "),
        (("--detector", "memory_bank", "--minutes", "1"), "a folder of pictures has no clock for --minutes or "),
        (("--detector", "memory_bank", "--exclude", "0-1"), "a folder of pictures has no clock for --minutes or "),
    ],
)
def test_options_that_need_films_are_refused_in_one_line(
    options: tuple[str, ...],
    line: str,
    archive: Path,
    tmp_path: Path,
) -> None:
    source = archive / "grid" / "train" / "good"
    found = called("learn", source, "--camera", "grid", "--out", tmp_path / "run", *options)
    assert found[:2] == (2, "")
    assert found[2].startswith(f"mistwatch: {source}: {line}")
    assert found[2].count("\n") == 1


def test_categories_are_found_by_name(load, archive: Path) -> None:
    mvtec = load("mvtec")
    grid = archive.resolve() / "grid"
    assert [one.resolve() for one in mvtec.categories(archive, None)] == [grid]
    assert mvtec.categories(archive / "grid", None) == [grid]
    with pytest.raises(MistwatchError, match="no bottle there; expected folders with train/good"):
        mvtec.categories(archive, ["grid", "bottle"])
    with pytest.raises(MistwatchError, match="no categories there"):
        mvtec.categories(archive / "missing", None)
