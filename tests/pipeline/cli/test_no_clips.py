"""Recordings of which no clip can be cut: the exit status, and the cause."""

from __future__ import annotations

from pathlib import Path

import pytest
from gray_films import write_film
from replays import start_replay
from site_runs import start_run, write_site
from triton_of_brightness import Server
from watching import watch

pytestmark = pytest.mark.realparts

FAILED = 1
CAUSE = "3 frames, too short for a clip of 4"


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Three pictures; a clip has four."""
    return write_film(tmp_path / "short.mkv", [90] * 3, fps=10)


def reported(errors: str) -> list[str]:
    """The command's own lines on standard error, without the log."""
    return [line.removeprefix("mistwatch: ") for line in errors.splitlines() if line.startswith("mistwatch: ")]


def test_watch(short: Path, tmp_path: Path, triton: Server, broker: str) -> None:
    result = watch(short, "--triton", triton.address, "--kafka", broker, "--out", tmp_path / "out")
    assert result.returncode == FAILED
    assert reported(result.stderr) == [f"camera short: nothing was watched: {CAUSE}"]


def test_run(short: Path, tmp_path: Path, triton: Server, broker: str) -> None:
    process = start_run(write_site(tmp_path, triton.address, broker, f"  short: {{source: '{short}'}}\n"))
    _, err = process.communicate(timeout=120)
    assert process.returncode == FAILED
    assert reported(err) == [f"camera short: nothing was watched: {CAUSE}"]


def test_replay(short: Path, tmp_path: Path, triton: Server) -> None:
    process = start_replay(short, "--triton", triton.address, "--out", tmp_path / "out")
    _, err = process.communicate(timeout=120)
    assert process.returncode == FAILED
    assert reported(err) == [f"not replayed: short: nothing to score: {CAUSE}"]


def test_a_recording_with_clips(tmp_path: Path, triton: Server, broker: str) -> None:
    long = write_film(tmp_path / "long.mkv", [90] * 12, fps=10)
    result = watch(long, "--triton", triton.address, "--kafka", broker, "--out", tmp_path / "out")
    assert (result.returncode, reported(result.stderr)) == (0, [])
