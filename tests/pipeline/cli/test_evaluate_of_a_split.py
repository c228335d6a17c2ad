"""``mistwatch evaluate MANIFEST --split …``: what is replayed, and what its folder is good for afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replays import contents
from site_runs import BRIGHT, DARK, write_video
from triton_of_brightness import Server
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.errors import UsageError
from pipeline.runs.folder import read_run

pytestmark = pytest.mark.realparts

SPLITS = {"t0": "test", "a": "train", "v": "validation", "t1": "test"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four videos, two of them of the test split, one of these abnormal."""
    rows = []
    for name, split in SPLITS.items():
        write_video(tmp_path / f"{name}.mp4", [(2.0, DARK), (2.0, BRIGHT if name == "t1" else DARK)])
        rows.append({"path": f"{name}.mp4", "label": int(name == "t1"), "split": split})
    file = tmp_path / "manifest.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def evaluate(manifest: Path, out: Path, triton: Server, *more: str) -> Result:
    words = ("--out", str(out), "--triton", triton.address, "--draws", "10", "--no-report", "--json")
    return CliRunner().invoke(app, ["evaluate", str(manifest), *words, *more])


def names(folder: Path) -> list[str]:
    return [row.name for row in read_run(folder).videos]


def test_a_split_alone_is_replayed_and_the_folder_takes_in_the_others_later(
    manifest: Path, tmp_path: Path, triton: Server
) -> None:
    (tmp_path / "a.mp4").write_text("no film: whoever reads it fails")
    run = tmp_path / "run"
    of_test = evaluate(manifest, run, triton, "--split", "test")
    assert of_test.exit_code == 0, of_test.exception
    assert names(run) == ["t0.mp4", "t1.mp4"]
    figures = json.loads(of_test.stdout.splitlines()[-1])
    assert (figures["videos"], figures["video_auc"]) == (2, 1.0)
    assert evaluate(manifest, run, triton, "--split", "validation").exit_code == 0
    assert names(run) == ["t0.mp4", "v.mp4", "t1.mp4"]
    write_video(tmp_path / "a.mp4", [(4.0, DARK)])
    assert evaluate(manifest, run, triton).exit_code == 0
    assert evaluate(manifest, tmp_path / "whole", triton).exit_code == 0
    assert contents(run) == contents(tmp_path / "whole")  # the ids of alerts, too
    again = evaluate(manifest, run, triton, "--split", "test")
    assert json.loads(again.stdout.splitlines()[-1]) == figures
    assert contents(run) == contents(tmp_path / "whole")  # nothing that was there is lost


def test_a_split_that_nothing_is_of_is_one_line(tmp_path: Path, triton: Server) -> None:
    write_video(tmp_path / "v.mp4", [(1.0, DARK)])
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text('{"path": "v.mp4", "label": 0, "split": "train"}\n')
    failure = evaluate(manifest, tmp_path / "run", triton, "--split", "test").exception
    assert isinstance(failure, UsageError)
    assert str(failure) == f"{manifest}: no video in split test; the manifest has train"
    assert not (tmp_path / "run").exists()
