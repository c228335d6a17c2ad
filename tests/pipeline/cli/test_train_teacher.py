"""`mistwatch train teacher`, and `learn` with a teacher, as an operator meets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import called as mistwatch
from tiny_teachers import write_teachers
from walking_films import pictures, write

from models.detectors.base import read_detector

RECIPE = """
name: tiny
description: a test
crops: {films: [films], obtain: ask for them}
patches: [33]
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "crops.films: films: no film there; expected films, or folders of them; ask for them"),
        (["--set", "patches=[9]"], "recipe.yaml: patches: Value error, expected different ones of 17, 33, 65"),
        (["--set", "crops.fps=0"], "recipe.yaml: crops.fps: Input should be greater than 0"),
        (["--set", "colour=red"], "recipe.yaml: colour: Extra inputs are not permitted"),
        (["--set", "crops=null"], "recipe.yaml: the file: Value error, expected either crops (of films) or stills"),
        (["--config", "missing.yaml"], "missing.yaml: no such file"),
    ],
)
def test_what_cannot_be_trained_is_one_line(change: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    config = [] if "--config" in change else ["--config", "recipe.yaml"]
    status, output, problems = mistwatch("train", "teacher", *config, *change, "--out", "run", folder=tmp_path)
    (line,) = problems.splitlines()
    assert (status, output) == (2, "")
    assert line.startswith("mistwatch: ")
    assert message in line
    assert not (tmp_path / "run" / "product").exists()


@pytest.mark.slow  # a training and four learnings
def test_a_camera_is_learned_with_teachers_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "yard.mp4", pictures(50))
    write_teachers(tmp_path / "teachers")
    changes = ("teachers=teachers", "students=2", "steps=3", "pictures=60")
    options = [word for change in changes for word in ("--set", change)]
    learned = ("learn", "yard.mp4", "--camera", "yard", "--detector", "student_teacher", "--out", "run", *options)
    status, output, problems = mistwatch(*learned, folder=tmp_path)
    assert (status, problems) == (0, "pictures: runs\nstudents: runs\nmaps: runs\nkept/1: runs\nproduct: runs\n")
    assert "learned from 4" in output  # of 50 s, a fifth is held back
    assert "clips of 1 frames at 10 fps" in output
    family, card = read_detector(tmp_path / "run" / "product")
    assert (family.name, card.camera, card.architecture.students) == ("student_teacher", "yard", 2)
    assert "yard: strangest moments" in (tmp_path / "run" / "strangest.html").read_text(encoding="utf-8")
    status, _, problems = mistwatch(*learned, "--set", "patches=[65]", folder=tmp_path)
    assert status == 2
    assert problems.startswith("mistwatch: teachers/teacher-card.json: patches: has teachers of 17, 33 pixels, and 65")
    status, _, problems = mistwatch(*learned, "--set", "uses=most", folder=tmp_path)
    assert (status, problems) == (2, "mistwatch: recipe: uses: Input should be 'both', 'error' or 'variance'\n")
