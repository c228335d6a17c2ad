"""The last line of a replay: which clips were scored, and which the motion gate kept back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.replay import print_summary
from pipeline.replay.replay import Outcome
from pipeline.runs.folder import VideoRow


def outcome(*gated: int) -> Outcome:
    """Return the outcome of recordings of 50 clips each, so many of them gated."""
    rows = tuple(
        VideoRow(name=f"film {number}", path="/a.mp4", clips=50, gated=count, duration_seconds=32.0)
        for number, count in enumerate(gated)
    )
    return Outcome(rows, len(rows), kept=0, alerts=2, stopped=False)


@pytest.mark.parametrize(
    ("gated", "line"),
    [
        ((40, 3), "run: 2 recordings (0:01:04), 57 clips scored, 43 gated, 2 alert(s)\n"),
        ((0, 0), "run: 2 recordings (0:01:04), 100 clips scored, 2 alert(s)\n"),
    ],
)
def test_gated_clips_do_not_count_as_scored(
    gated: tuple[int, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Path("run"), outcome(*gated))
    assert capsys.readouterr().out == line


def test_the_json_summary_counts_gated_clips(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(Path("run"), outcome(40, 3), as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert (summary["clips"], summary["clips_gated"]) == (100, 43)
