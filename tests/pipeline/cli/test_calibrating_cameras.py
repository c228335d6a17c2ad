"""Whose footage `mistwatch calibrate` takes, and from which proportion of the thresholds it sets out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_runs import clips, row, run, write_run

from pipeline.calibration.file import read_calibration
from pipeline.calibration.footage import require_one_archive
from pipeline.cli.calibrate import calibrate
from pipeline.errors import UsageError
from pipeline.runs.folder import CameraPart, Clips, RunError
from pipeline.sources.archive import Joining

HOUR = clips(np.full(3600, 0.1))


def of_cameras(
    folder: Path, *cameras: str | None, scored: Clips = HOUR, zones: dict[str, Any] | None = None, **chain: Any
) -> Path:
    """A run with an hour's recording of each camera of a site, or of none of them."""
    rows = [
        (row(f"{camera or 'tape'}-{number}", scored, camera=camera, content_hash=f"{number:016}"), scored)
        for number, camera in enumerate(cameras)
    ]
    made = run(rows, folder=folder, **chain)
    part = CameraPart(clip=made.settings.clip, chain=made.settings.chain, zones=zones or {})
    parts = {camera: part for camera in cameras if camera is not None}
    return write_run(replace(made, settings=made.settings.model_copy(update={"cameras": parts})))


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        (
            ("gate", "yard"),
            r"gate-0 belongs to camera gate, yard-1 to camera yard: a budget is for one camera, .* --camera selects",
        ),
        (("gate", None), "gate-0 belongs to camera gate, tape-1 to no camera of the site"),
    ],
)
def test_footage_of_two_cameras_is_refused(tmp_path: Path, cameras: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        calibrate([of_cameras(tmp_path / "run", *cameras)], "10/hour", out=tmp_path / "gate.json")
    assert not (tmp_path / "gate.json").exists()


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (
            None,
            r"state 2 cameras \(gate, yard\), and a budget is for one camera: name only the folder or the files of one",
        ),
        ("gate", "--camera gate: the cameras are those of a site, .* name the site with --config, or leave out"),
    ],
)
def test_recordings_of_two_cameras_are_refused_before_they_are_replayed(
    tmp_path: Path, camera: str | None, message: str
) -> None:
    nvr = tmp_path / "nvr"
    nvr.mkdir()
    for name in ("gate", "yard"):
        for minute in (0, 1):
            (nvr / f"{name}_20240501_13{minute:02}00.mp4").touch()
    with pytest.raises(UsageError, match=message):
        calibrate([nvr], "500/hour", out=tmp_path / "gate.json", camera=camera, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_sites_cameras_may_share_a_folder(tmp_path: Path) -> None:
    """One of them is chosen with --camera, and two are refused by their methods."""
    for name in ("gate", "yard"):
        for minute in (0, 1):
            (tmp_path / f"{name}_20240501_13{minute:02}00.mp4").touch()
    require_one_archive([tmp_path], {"gate", "yard"})
    require_one_archive([tmp_path], (), Joining(join=False))
    require_one_archive([tmp_path / "yard_20240501_130000.mp4", tmp_path / "yard_20240501_130100.mp4"], ())
    with pytest.raises(UsageError, match="2 cameras"):
        require_one_archive([tmp_path], {"hall"})


def test_one_cameras_footage_is_taken_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gate.json"
    calibrate([of_cameras(tmp_path / "run", "yard", "gate", "gate")], "10/hour", out=out, camera="gate")
    found = read_calibration(out)
    assert (found.camera, found.promise.hours) == ("gate", 2.0)
    said = capsys.readouterr().out
    assert "All footage belongs to camera gate, and the promise holds for that camera." in said
    assert "set in the configuration of camera gate of the site: calibration: gate.json" in said


ROAD = {"points": [[0.0, 0.0], [1.0, 0.0], [1.0, 0.25]], "ignore": True}
POND = {"points": [[0.0, 0.5], [0.5, 0.5], [0.0, 1.0]], "ignore": True}


def test_the_ignore_zones_of_the_footage_are_kept(tmp_path: Path) -> None:
    gate = {"points": [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0]]}
    out = tmp_path / "gate.json"
    calibrate(
        [of_cameras(tmp_path / "run", "gate", zones={"pond": POND, "gate": gate, "road": ROAD})], "10/hour", out=out
    )
    assert read_calibration(out).ignored == (
        ((0.0, 0.0), (1.0, 0.0), (1.0, 0.25)),
        ((0.0, 0.5), (0.5, 0.5), (0.0, 1.0)),
    )


def test_footage_with_other_ignore_zones_is_refused(tmp_path: Path) -> None:
    places = [
        of_cameras(tmp_path / "before", "gate"),
        of_cameras(tmp_path / "after", "gate", zones={"road": ROAD}),
    ]
    with pytest.raises(UsageError, match="were replayed with different ignore zones: replay them alike"):
        calibrate(places, "10/hour", out=tmp_path / "gate.json")
    # Names, order and other zones do not matter.
    alike = [
        of_cameras(tmp_path / "one", "gate", zones={"road": ROAD, "pond": POND}),
        of_cameras(tmp_path / "other", "gate", "gate", zones={"a": POND, "b": ROAD, "c": {"points": POND["points"]}}),
    ]
    calibrate(alike, "10/hour", out=tmp_path / "gate.json")


def test_a_run_whose_zones_are_damaged_is_one_line(tmp_path: Path) -> None:
    folder = of_cameras(tmp_path / "run", "gate", zones={"road": ROAD})
    told = json.loads((folder / "run.json").read_text())
    told["cameras"]["gate"]["zones"]["road"]["points"] = "everywhere"
    (folder / "run.json").write_text(json.dumps(told))
    with pytest.raises(RunError, match=r"run\.json: .*points") as caught:
        calibrate([folder], "10/hour", out=tmp_path / "gate.json")
    assert "\n" not in str(caught.value)


def test_recordings_of_no_camera_are_one_cameras_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gate.json"
    calibrate([of_cameras(tmp_path / "run", None, None)], "10/hour", out=out)
    assert json.loads(out.read_text())["camera"] is None
    assert (
        "The footage is taken as one camera's. If it comes from several, quiet ones cover for noisy ones"
        in capsys.readouterr().out
    )


def test_the_proportion_of_the_thresholds_is_not_an_older_calibrations(tmp_path: Path) -> None:
    """That one raised the close threshold to nine tenths; the site has four fifths."""
    scores = np.full(3600, 0.1)
    scores[100:3500:300] = 0.951  # twelve times the average of two clips comes to 0.5255, and four alarms are allowed
    thresholds = {"open_threshold": 0.5, "close_threshold": 0.45}
    found = {}
    for share in (None, 0.8):
        folder = of_cameras(tmp_path / f"run-{share}", "gate", scored=clips(scores), **thresholds, own_share=share)
        calibrate([folder], "10/hour", out=tmp_path / "gate.json")
        found[share] = read_calibration(tmp_path / "gate.json").alerts
    assert [one.open_threshold for one in found.values()] == [0.526, 0.526]
    assert [one.close_threshold for one in found.values()] == [0.4734, 0.4208]
