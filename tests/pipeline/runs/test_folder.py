"""The run folder as it is read: values written by hand, and what is no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from operators.alerting import AlertSettings
from operators.background import SceneKind
from operators.chain import ChainSettings
from operators.heat_kind import HeatKind
from pipeline.runs.folder import RunChain, RunError, RunModel, VideoRow, read_run, score_schema

CHAIN = {
    "kernel": 3, "max_hole": 8, "open_threshold": 0.5, "close_threshold": 0.4, "min_clips": 1,
    "update_every_seconds": 10.0, "cooldown_seconds": 10.0, "max_duration_seconds": 600.0,
}  # fmt: skip
CLIP = {"frames": 16, "stride": 16, "height": 224, "width": 224, "fit": "stretch", "fps": None}


def event(alert: str, state: str, video: str = "a", **more: Any) -> dict[str, Any]:
    """An alert event as a replay writes it, as far as it is read."""
    peak = {"smoothed_score": 0.75, "started_pts_seconds": 2.0, "ended_pts_seconds": 2.64}
    data = {"alert_id": alert, "state": state, "camera": video, "segment": "s/0", "threshold": 0.5, "peak": peak}
    return {"subject": video, "data": {**data, "started_pts_seconds": 1.0, **more}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of two clips and one, the first with an alert, and one that could not be read."""
    run = {
        "schema_version": 1, "mistwatch": "0", "site": "s", "run": "r", "clip": CLIP, "chain": CHAIN,
        "model": {"name": "m", "version": "2"}, "a_later_versions_key": 1,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    rows = [
        {"name": "a", "path": "/a.mp4", "frames": 40, "clips": 2, "label": 1, "intervals": [[3, 9]]},
        {"name": "b\u2028", "path": "/b.mp4", "frames": 16, "clips": 1},
        {"name": "c", "path": "/c.mp4", "error": "no film"},
    ]
    (tmp_path / "videos.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    columns = {
        "video": ["a", "a", "b\u2028"], "segment": ["s/0", "s/0", "t/0"], "index": [0, 1, 0],
        "start": [0.0, 0.64, 0.0], "end": [0.64, 1.28, 0.64], "first_frame": [0, 16, 0], "end_frame": [16, 32, 16],
        "score": [0.25, 0.75, 0.5], "smoothed": [0.25, 0.5, 0.5], "model": ["m"] * 3, "model_version": ["2"] * 3,
        "gated": [False] * 3,
    }  # fmt: skip
    parquet.write_table(pyarrow.table(columns, schema=score_schema()), tmp_path / "scores.parquet")
    scores = [{"ended_pts_seconds": 1.5}, {"ended_pts_seconds": 2.5}]
    events = [
        event("x", "begin", scores=scores),
        event("x", "update"),
        event("x", "end", ended_pts_seconds=9.0, end_reason="gap"),
    ]
    (tmp_path / "alerts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    return tmp_path


def test_everything_is_where_it_belongs(folder: Path) -> None:
    run = read_run(folder)
    assert [row.name for row in run.videos] == ["a", "b\u2028", "c"]
    assert {name: len(clips) for name, clips in run.clips.items()} == {"a": 2, "b\u2028": 1, "c": 0}
    clips = run.clips["a"]
    assert clips.segment == ("s/0", "s/0")
    np.testing.assert_array_equal(clips.end_frame, [16, 32])
    np.testing.assert_array_equal(clips.score, np.float32([0.25, 0.75]))
    (alert,) = run.alerts["a"]
    assert (alert.started, alert.opened, alert.ended, alert.end_reason) == (1.0, 2.5, 9.0, "gap")
    assert (alert.peak, alert.peak_start, alert.peak_end) == (0.75, 2.0, 2.64)
    assert run.alerts["c"] == ()
    assert run.attention(run.videos[0]) is None


@pytest.mark.parametrize("kind", ["mistwatch.drift", "mistwatch.tamper.begin"])
def test_events_that_are_not_alerts_are_left_out(folder: Path, kind: str) -> None:
    """The drift of this version, and any type of a later one."""
    before = read_run(folder).alerts
    with (folder / "alerts.jsonl").open("a") as file:
        file.write(json.dumps({"type": kind, "subject": "a", "data": {"camera": "a", "state": "begin"}}) + "\n")
    assert read_run(folder).alerts == before


def test_the_operators_settings_come_back_as_they_were() -> None:
    chain = ChainSettings(
        alert=AlertSettings(open_threshold=0.5, close_threshold=0.25, min_clips=2), kernel=7, max_hole=4
    )
    assert RunChain.from_settings(chain).settings == chain


def test_maps_are_read_where_they_were_kept(folder: Path) -> None:
    run = read_run(folder)
    row = run.videos[0]
    (folder / "attention").mkdir()
    kept = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    np.save(folder / "attention" / f"{row.key}.npy", kept)
    np.testing.assert_array_equal(run.attention(row), kept)
    np.save(folder / "attention" / f"{row.key}.npy", kept[:1])
    with pytest.raises(RunError, match="expected 2 maps"):
        run.attention(row)


def test_two_names_have_two_keys() -> None:
    assert VideoRow(name="a/b", path="x").key != VideoRow(name="a-b", path="x").key


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


def unfinish(folder: Path) -> None:
    (folder / "run.json").unlink()
    (folder / "parts").mkdir()


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (remove("run.json"), r"no run of a replay \(no run\.json\)"),
        (unfinish, "the run is not finished; the same `mistwatch replay` goes on"),
        (remove("scores.parquet"), r"no scores\.parquet there"),
        (remove("alerts.jsonl"), r"no alerts\.jsonl there"),
        (write("run.json", "{"), r"run\.json: the document: Invalid JSON"),
        (write("run.json", '{"schema_version": 2}'), r"run\.json: schema_version: Input should be 1"),
        (write("videos.jsonl", '{"name": "a"}\n'), r"videos\.jsonl:1: path: Field required"),
        (write("videos.jsonl", '{"name": "a", "path": "x", "clips": 5}\n'), "a has 5 clips in videos.jsonl and 2 in"),
        (write("videos.jsonl", '{"name": "a", "path": "x", "clips": 2}\n'), "are not of the same recordings"),
        (write("scores.parquet", "no table"), r"scores\.parquet: no table of scores"),
        (write("alerts.jsonl", "{}\n"), r"alerts\.jsonl:1: no alert event of a replay"),
        (
            write("alerts.jsonl", json.dumps(event("x", "begin", scores=[{"ended_pts_seconds": 1.0}])) + "\n"),
            "the alert x never ends",
        ),
        (
            write(
                "alerts.jsonl",
                json.dumps(event("x", "begin", "z", scores=[{"ended_pts_seconds": 1.0}]))
                + "\n"
                + json.dumps(event("x", "end", "z", ended_pts_seconds=2.0, end_reason="gap"))
                + "\n",
            ),
            "an alert of 'z', which videos.jsonl does not name",
        ),
    ],
)
def test_what_is_no_run_is_one_line(folder: Path, harm: Any, problem: str) -> None:
    harm(folder)
    with pytest.raises(RunError, match=problem) as raised:
        read_run(folder)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder; expected one that `mistwatch replay --out` wrote"):
        read_run(tmp_path / "gone")


def test_a_run_without_a_calibration_is_written_as_ever() -> None:
    """Its name, and with it its alerts' ids, is a hash of what is written."""
    chain = RunChain(**CHAIN)
    assert json.loads(chain.model_dump_json()) == CHAIN
    calibrated = RunChain(**CHAIN, own_share=0.8)
    assert RunChain.model_validate_json(calibrated.model_dump_json()) == calibrated
    assert calibrated.settings == chain.settings


def test_a_run_of_a_model_with_attention_is_written_as_ever() -> None:
    usual = RunModel(name="m", version="1")
    assert not {"heat", "scene"} & json.loads(usual.model_dump_json()).keys()
    absolute = RunModel(name="m", version="1", heat=HeatKind.ANOMALY)
    assert json.loads(absolute.model_dump_json())["heat"] == "anomaly"
    with_scene = RunModel(name="m", version="1", scene=SceneKind.BACKGROUND)
    assert json.loads(with_scene.model_dump_json())["scene"] == "background"
    for model in (usual, absolute, with_scene):
        assert RunModel.model_validate_json(model.model_dump_json()) == model
