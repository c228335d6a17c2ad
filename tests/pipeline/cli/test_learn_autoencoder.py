"""`mistwatch learn --detector autoencoder`, as an operator meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import called as mistwatch
from walking_films import pictures, write

from models.detectors.base import read_detector

OPTIONS = ("--camera", "yard", "--detector", "autoencoder", "--hold-out", "0.25", "--out")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("films") / "yard.mp4", pictures(30))


def test_a_film_becomes_a_model_a_page_and_what_can_be_exported(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ("--set", "steps=10", "--set", "frames=2", "--set", "error=l2")
    status, output, problems = mistwatch("learn", film, *OPTIONS, out, *small)
    assert (status, problems) == (0, "clips: runs\nnetwork: runs\nerrors: runs\nkept/1: runs\nproduct: runs\n")
    assert "clips of 2 frames at 10 fps" in output
    assert read_detector(out / "product")[1].name == "yard-autoencoder"
    assert "yard: strangest moments" in (out / "strangest.html").read_text(encoding="utf-8")
    status, _, problems = mistwatch("export", "--model", out / "product", "--out", tmp_path / "models")
    assert status == 0, problems
    assert list((tmp_path / "models").glob("*/1/networks/autoencoder.xml"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("error=mse", "recipe: error: Input should be 'l2', 'ssim' or 'both'"),
        ("frames=17", "recipe: frames: Input should be less than or equal to 16"),
        ("height=250", "recipe: height: Input should be a multiple of 8"),
        ("channels=[]", "recipe: channels: Tuple should have at least 1 item"),
        ("learning_rate=1e9", "the loss of step "),
    ],
)
def test_what_cannot_be_learned_with_is_one_line(film: Path, tmp_path: Path, change: str, message: str) -> None:
    status, output, problems = mistwatch("learn", film, *OPTIONS, tmp_path / "run", "--set", change)
    *stages, line = problems.splitlines()
    assert (status, output) == (2, "")
    assert set(stages) <= {"clips: runs", "network: runs"}
    assert line.startswith(f"mistwatch: {message}")
    assert not (tmp_path / "run" / "product").exists()
