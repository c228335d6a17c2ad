"""What `mistwatch calibrate --probabilities` takes and refuses, of runs whose scores are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged_runs import clips, row, run, write_run
from tiny_films import film

from pipeline.calibration.file import read_calibration
from pipeline.cli.calibrate import calibrate
from pipeline.errors import UsageError
from pipeline.runs.folder import Run

NORMAL = clips(np.linspace(0.0, 0.2, 3600).tolist())  # an hour
RISING = clips([0.1, 0.2, 0.6, 0.3, 0.8, 0.9])


def calibrated(folder: Path, labelled: Run) -> Path:
    normal = write_run(run([(row("calm", NORMAL), NORMAL)], folder=folder / "normal"))
    file = folder / "gate.json"
    there = write_run(replace(labelled, folder=folder / "labelled"))
    calibrate([normal], "10/hour", out=file, probabilities=there, as_json=True)
    return file


def labelled(end: int, *, damage: str | None = None, **chain: int) -> Run:
    video = row("fight", RISING, label=1, intervals=((48, end),), damage=damage)
    return run([(video, RISING)], **chain)


def test_of_a_cut_off_film_the_clips_there_are_count(tmp_path: Path) -> None:
    found = read_calibration(calibrated(tmp_path, labelled(300, damage="cut off"))).probability
    assert found is not None
    assert (found.clips, found.abnormal_clips) == (6, 3)  # the fourth clip begins with frame 48


def test_frames_that_a_whole_film_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fight: its manifest says frames \[48, 300\) are abnormal, and 96 were"):
        calibrated(tmp_path, labelled(300))


def test_a_run_of_another_average_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fight was replayed with an average of 3 clips, unlike the normal"):
        calibrated(tmp_path, labelled(96, kernel=3))


def test_a_run_of_other_clips_is_refused(tmp_path: Path) -> None:
    other = labelled(96)
    clip = other.settings.clip.model_copy(update={"stride": 8})
    with pytest.raises(UsageError, match="fight was replayed with other clips, unlike the normal footage"):
        calibrated(tmp_path, replace(other, settings=other.settings.model_copy(update={"clip": clip})))


def test_runs_that_do_not_go_together_are_refused_before_a_recording_is_replayed(tmp_path: Path) -> None:
    """There is no Triton at that address, and nobody asks for it."""
    one = write_run(run([(row("calm", NORMAL), NORMAL)], folder=tmp_path / "one"))
    other = write_run(run([(row("quiet", NORMAL), NORMAL)], folder=tmp_path / "other", kernel=5))
    film(tmp_path / "new.mp4", 20)
    for there, message in (
        ([one, other], "calm and quiet were replayed with different operators' settings"),
        ([one], "quiet was replayed with an average of 5 clips, unlike the normal footage"),
    ):
        with pytest.raises(UsageError, match=message):
            calibrate(
                [*there, tmp_path / "new.mp4"],
                "10/hour",
                probabilities=other,
                triton="127.0.0.1:1",
                run=tmp_path / "run",
                out=tmp_path / "gate.json",
            )
    assert not (tmp_path / "run").exists()
