"""`mistwatch learn --detector autoencoder`, as an operator meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from in_process import called as mistwatch
from odd_things import with_a_disc
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


@pytest.mark.slow  # a training and a Triton; the family's own tests score a disc without one
@pytest.mark.realparts
def test_the_model_watches_its_camera(tmp_path: Path) -> None:
    """On a real Triton: the one alert is that of the disc, with heat that is absolute."""
    yard = write(tmp_path / "yard.mp4", pictures(60))
    disc = write(tmp_path / "disc.mp4", with_a_disc(30, (15, 19)))
    assert mistwatch("learn", yard, *OPTIONS, tmp_path / "learned", "--set", "steps=80")[0] == 0
    model = tmp_path / "learned" / "product"
    status, _, problems = mistwatch("replay", disc, "--model", model, "--out", tmp_path / "run")
    assert status == 0, problems
    begin, end = map(json.loads, (tmp_path / "run" / "alerts.jsonl").read_text().splitlines())
    assert (begin["data"]["state"], end["data"]["state"]) == ("begin", "end")
    assert 14.5 <= end["data"]["started_pts_seconds"] < end["data"]["ended_pts_seconds"] <= 20
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["heat"] == "anomaly"


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
