"""A recorder's archive through the pipeline: the same scores and alerts as the whole film, with a wall clock."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from archives import START, archive
from replays import contents, replay
from site_runs import BRIGHT, DARK
from triton_of_brightness import Server
from typer.testing import CliRunner

from pipeline.alerts.event import AlertEvent
from pipeline.calibration.footage import normal_footage
from pipeline.cli.live import Stop
from pipeline.cli.main import app
from pipeline.cli.replay import annotate_run
from pipeline.cli.replay_display import ReplayDisplay
from pipeline.replay.replay import Progress
from pipeline.runs.folder import ALERTS_FILE, read_run
from pipeline.sources.archive import Joining, zone_named

pytestmark = pytest.mark.realparts

UTC_START = START.replace(tzinfo=UTC)
IN_UTC = Joining(zone=zone_named("UTC"))

#: Ten seconds of ten pictures: bright from 3 to 7, which files of two seconds cut in three.
GREYS = [DARK] * 30 + [BRIGHT] * 40 + [DARK] * 30


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize(("model", "count"), [("small", 49), ("slow", 24)])
def test_an_archive_has_the_scores_and_alerts_of_the_whole_film(
    tmp_path: Path, three_models: Server, threshold: float, model: str, count: int
) -> None:
    whole, files = archive(tmp_path / "gate", GREYS)
    assert len(files) == 5
    site = {"detectors": {"d": {"model": model}}, "alerts": {"open_threshold": threshold}}
    for name, place, joining in (
        ("whole", whole, IN_UTC),
        ("joined", files[0].parent, IN_UTC),
        ("apart", files[0].parent, Joining(join=False)),
    ):
        replay(tmp_path / name, [place], three_models.address, site=site, detector="d", joining=joining)
    (expected,) = read_run(tmp_path / "whole").clips.values()
    run = read_run(tmp_path / "joined")
    (row,) = run.videos
    clips = run.clips["gate"]
    assert (row.name, row.frames, row.segments, len(row.files), row.gaps) == ("gate", 100, 1, 5, ())
    assert (row.fps, row.duration_seconds) == pytest.approx((10.0, 10.0))
    assert len(clips) == count  # clips of 4 of 100 pictures (of 50, at 5 a second), one every 2
    np.testing.assert_allclose(clips.score, expected.score, atol=1e-6)
    np.testing.assert_allclose(clips.smoothed, expected.smoothed, atol=1e-6)
    np.testing.assert_allclose(clips.start, expected.start, atol=1e-6)
    np.testing.assert_array_equal(clips.first_frame, expected.first_frame)
    alerts = {name: sum(map(len, read_run(tmp_path / name).alerts.values())) for name in ("whole", "joined", "apart")}
    assert alerts["joined"] == alerts["whole"] == 1
    assert alerts["apart"] > 1
    assert len(read_run(tmp_path / "apart").videos) == 5


def test_alerts_have_the_cameras_name_and_the_time_in_the_names(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "films", GREYS, camera="front door")
    replay(tmp_path / "run", [files[0].parent], triton.address, joining=IN_UTC)
    lines = (tmp_path / "run" / ALERTS_FILE).read_text().splitlines()
    begin, end = (AlertEvent.model_validate_json(line) for line in lines)
    assert begin.data.camera == "front door"
    assert begin.data.started_at is not None
    assert end.data.ended_at is not None
    # The average of three clips is at .5 with the first that is wholly bright, which begins with the picture at 3 s.
    assert begin.data.started_at == pytest.approx(UTC_START + timedelta(seconds=3), abs=timedelta(milliseconds=1))
    assert timedelta(seconds=6.9) < end.data.ended_at - UTC_START < timedelta(seconds=8)


def test_a_gap_is_in_the_run_and_ends_its_alert(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "gate", GREYS)
    files[2].unlink()  # from 4 to 6 s
    replay(tmp_path / "run", [files[0].parent], triton.address, joining=IN_UTC)
    run = read_run(tmp_path / "run")
    (row,) = run.videos
    assert (row.frames, row.segments) == (80, 2)
    assert row.duration_seconds == pytest.approx(8.0)
    (gap,) = row.gaps
    assert (gap.after, gap.seconds) == (UTC_START + timedelta(seconds=4), pytest.approx(2.0))
    first, second = run.alerts["gate"]
    assert first.end_reason == "clock_jump"
    assert (first.ended, second.started) == pytest.approx((4.0, 6.0))
    # A budget of false alarms counts the time that was watched, and one piece for each segment.
    footage = normal_footage([run], None)
    assert len(footage.pieces) == 2
    assert len(footage.rows) == 1


def test_a_finished_archive_is_kept_until_it_grows(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "gate", GREYS)
    later = files[-1].rename(tmp_path / files[-1].name)
    folder = files[0].parent
    assert replay(tmp_path / "run", [folder], triton.address, joining=IN_UTC).kept == 0
    before = contents(tmp_path / "run")
    again = replay(tmp_path / "run", [folder], triton.address, joining=IN_UTC)
    assert again.kept == 1
    assert contents(tmp_path / "run") == before
    later.rename(folder / later.name)
    grown = replay(tmp_path / "run", [folder], triton.address, joining=IN_UTC)
    assert (grown.kept, grown.rows[0].frames) == (0, 100)
    replay(tmp_path / "other", [folder], triton.address, joining=IN_UTC)
    assert contents(tmp_path / "run") == contents(tmp_path / "other")


def test_a_damaged_file_is_stated_and_the_others_are_scored(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "gate", GREYS)
    files[0].write_bytes(b"nothing")
    files[3].write_bytes(b"nothing")
    (row,) = replay(tmp_path / "run", [files[0].parent], triton.address, joining=IN_UTC).rows
    assert (row.error, row.frames, row.segments) == (None, 60, 2)
    assert row.damage is not None
    assert "2 of 5 files damaged" in row.damage
    assert row.started_at == UTC_START + timedelta(seconds=2)


def test_progress_states_the_files_that_are_hashed(
    tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes as long as reading a large archive from its disk."""
    monkeypatch.setattr("pipeline.replay.replay._LOOK_SECONDS", 0.0)
    _, files = archive(tmp_path / "gate", GREYS)
    shown: list[Progress] = []
    replay(tmp_path / "run", [files[0].parent], triton.address, joining=IN_UTC, show=shown.append)
    assert [one.hashing for one in shown[:5]] == [("gate", number, 5) for number in range(1, 6)]
    assert shown[5].hashing is None
    display = ReplayDisplay(as_json=False, stop=Stop())
    display.progress(shown[2])
    assert display.bar.tasks[0].description == "0 of 1 recordings, 0 clips, 0 alert(s); gate: 3 of 5 files hashed"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def test_the_command_states_what_was_joined(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "nvr", GREYS)
    archive(tmp_path / "more", [DARK] * 40, camera="yard")
    files[2].unlink()
    options = ("--triton", triton.address, "--time-zone", "Europe/Berlin")
    places = (tmp_path / "nvr", tmp_path / "more")
    result = invoke(*places, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    first, *lines = result.stderr.splitlines()
    assert first == (
        "mistwatch: 6 files are read as 2 recordings, one for each camera (gate, yard); "
        "--no-join reads each file by itself"
    )
    assert (
        "mistwatch: gate: 4 files joined, 2024-05-01 13:00:00+02:00 to 2024-05-01 13:00:10+02:00, "
        "1 gap (2.0 s from 2024-05-01 13:00:04+02:00)"
    ) in lines
    assert "mistwatch: yard: 2 files joined, 2024-05-01 13:00:00+02:00 to 2024-05-01 13:00:04+02:00, no gap" in lines
    assert result.stdout.splitlines()[-1].startswith(f"{tmp_path / 'run'}: 2 recordings (0:00:12), ")
    only = invoke(*places, "--out", tmp_path / "yard", *options, "--camera", "yard", "--json")
    assert only.exit_code == 0, only.output
    assert "; 4 files of other cameras, or without a time, left out; " in only.stderr.splitlines()[0]
    assert json.loads(only.stdout.splitlines()[-1])["recordings"] == 1
    apart = invoke(*places, "--out", tmp_path / "apart", "--triton", triton.address, "--no-join")
    assert apart.exit_code == 0, apart.output
    assert "joined" not in apart.stderr
    assert "6 recordings" in apart.stdout


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--camera", "gate", "--no-join"), "--camera joins the files of one camera: leave out --no-join"),
        (("--time-zone", "Nowhere"), "time zone 'Nowhere': unknown"),
        (("--camera", " "), "--camera: expected a name"),
    ],
)
def test_options_that_cannot_be_met_are_usage_errors(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    (tmp_path / "a.mp4").touch()
    result = invoke(tmp_path, *options, "--triton", "127.0.0.1:1")
    assert result.exit_code != 0
    assert problem in str(result.exception)


def test_labels_of_a_manifest_are_of_single_files(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "gate", GREYS)
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"path": str(file), "label": 0}) + "\n" for file in files))
    assert len(replay(tmp_path / "run", [manifest], triton.address).rows) == 5
    result = invoke(manifest, "--join", "--triton", triton.address)
    assert "the labels of a manifest are of single recordings" in str(result.exception)


def test_an_archive_is_annotated_as_one_film(tmp_path: Path, triton: Server) -> None:
    _, files = archive(tmp_path / "gate", GREYS)
    files[2].unlink()
    replay(tmp_path / "run", [files[0].parent], triton.address, joining=IN_UTC)
    annotate_run(tmp_path / "run")
    (film,) = (tmp_path / "run" / "annotated").glob("*.mp4")
    with av.open(str(film)) as container:
        pictures = sum(1 for _ in container.decode(video=0))
    assert pictures == 80
