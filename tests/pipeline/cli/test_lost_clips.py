"""Recordings whose clips the server fails on: the exit status, and the cause.

The clips have 4 frames, one every 2, so that 20 frames make 9 of them and 40 frames 19.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from replays import start_replay
from site_runs import start_run, write_site
from steered_films import steered
from triton_of_brightness import Server
from watching import watch

pytestmark = pytest.mark.realparts

FAILED = 1
#: Pixels that the model scores, and those that it fails on (see ``brightness_model.py``).
GREY, GREEN = (20, (90, 90, 90), 90), (20, (0, 255, 0), 90)
CAUSE = "a green pixel"


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """A recording of which every clip fails."""
    return steered(tmp_path / "lost.mkv", GREEN)


def reported(errors: str) -> list[str]:
    """The command's own lines on standard error, without the log."""
    return [line.removeprefix("mistwatch: ") for line in errors.splitlines() if line.startswith("mistwatch: ")]


def assert_nothing_scored(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == FAILED, result.stderr
    (line,) = reported(result.stderr)
    assert line.startswith("camera lost: none of its 9 clips could be scored: Triton at ")
    assert line.endswith(CAUSE)


def test_watch(lost: Path, tmp_path: Path, triton: Server, broker: str) -> None:
    assert_nothing_scored(watch(lost, "--triton", triton.address, "--kafka", broker, "--out", tmp_path / "out"))


def test_run(lost: Path, tmp_path: Path, triton: Server, broker: str) -> None:
    process = start_run(write_site(tmp_path, triton.address, broker, f"  lost: {{source: '{lost}'}}\n"))
    out, err = process.communicate(timeout=120)
    assert_nothing_scored(subprocess.CompletedProcess(process.args, process.returncode, out, err))


def test_replay(lost: Path, tmp_path: Path, triton: Server) -> None:
    process = start_replay(lost, "--triton", triton.address, "--out", tmp_path / "out")
    _, err = process.communicate(timeout=120)
    assert process.returncode == FAILED
    (line,) = reported(err)
    assert line.startswith("not replayed: lost: no clip was scored: 9 clips could not be scored (Triton at ")
    assert line.endswith(f"{CAUSE})")


def test_a_recording_that_is_scored_in_part_is_watched_and_its_loss_stated(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    """A clip fails where its first frame is green: from frame 20 on, clips 10 to 18."""
    film = steered(tmp_path / "half.mkv", GREY, GREEN)
    result = watch(film, "--json", "--triton", triton.address, "--kafka", broker, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["clips_scored"], summary["clips_dropped"]) == (10, 9)
    (line,) = reported(result.stderr)
    assert line.startswith("camera half: 9 of its 19 clips could not be scored: Triton at ")
    assert line.endswith(CAUSE)
