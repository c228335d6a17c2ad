"""``mistwatch watch --triton --model``: refused, as ``replay`` does, where that Triton serves another model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from site_runs import DARK, write_video
from triton_of_brightness import Server
from watching import watch

pytestmark = pytest.mark.realparts

USAGE = 2


@pytest.fixture
def servers(triton: Server, broker: str, tmp_path: Path) -> list[object]:
    """The options that name both servers and a folder. The Triton serves the model ``mean`` at version 1."""
    return ["--triton", triton.address, "--kafka", broker, "--out", tmp_path / "out"]


@pytest.mark.parametrize(
    ("source", "model"),
    [("film.mp4", "dragons"), ("film.mp4", "mean@2"), ("synthetic://courtyard?seed=1", "fights")],
    ids=["unknown model", "other version", "live camera"],
)
def test_another_model_is_refused(
    source: str, model: str, servers: list[object], triton: Server, tmp_path: Path
) -> None:
    write_video(tmp_path / "film.mp4", [(1.0, DARK)])
    place = source if "://" in source else tmp_path / source
    result = watch(place, "--model", model, *servers)
    assert result.returncode == USAGE, result.stderr
    assert result.stderr.splitlines()[-1] == (
        f"mistwatch: Triton at {triton.address} serves mean version 1, not {model}: leave out --model to score with "
        "what it serves, or leave out --triton"
    )


@pytest.mark.parametrize("options", [[], ["--model", "mean"], ["--model", "mean@1"]], ids=["none", "name", "version"])
def test_the_served_model_is_taken(options: list[str], servers: list[object], tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", [(2.0, DARK)])  # 20 frames: 9 clips of 4, one every 2
    result = watch(film, "--json", *options, *servers)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["clips_scored"] == 9
