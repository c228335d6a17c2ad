"""The lines that state what was joined, and the options that join."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from archives import archive

from pipeline.cli.archives import joined, to_be_joined
from pipeline.cli.watch import check_sources
from pipeline.runs.folder import RowFile, RowGap, VideoRow
from pipeline.runs.recordings import Wanted
from pipeline.sources.archive import BY_NAMES, Joining
from pipeline.sources.joined import Part

START = datetime(2024, 5, 1, 13, 0, 0, tzinfo=UTC)


def row(*gaps: RowGap, timed: bool = True) -> VideoRow:
    files = tuple(RowFile(path=f"/nvr/{number}.mp4", at=START if timed else None) for number in range(3))
    return VideoRow(
        name="gate",
        path="/nvr/0.mp4",
        files=files,
        gaps=gaps,
        duration_seconds=30.0,
        started_at=START if timed else None,
    )


def gap(seconds: float | None, after: float | None = 10.0) -> RowGap:
    return RowGap(after=START + timedelta(seconds=after) if after is not None else None, seconds=seconds)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (row(), "gate: 3 files joined, 2024-05-01 15:00:00+02:00 to 2024-05-01 15:00:30+02:00, no gap"),
        (
            row(gap(40.0)),
            "gate: 3 files joined, 2024-05-01 15:00:00+02:00 to 2024-05-01 15:01:10+02:00, "
            "1 gap (40.0 s from 2024-05-01 15:00:10+02:00)",
        ),
        (
            row(gap(-3.0)),
            "gate: 3 files joined, 2024-05-01 15:00:00+02:00 to 2024-05-01 15:00:30+02:00, no gap, "
            "1 overlap (3.0 s from 2024-05-01 15:00:10+02:00), watched once",
        ),
        (row(gap(None, None), timed=False), "gate: 3 files joined, 1 gap (of unknown length)"),
    ],
)
def test_what_was_joined_is_one_line(one: VideoRow, expected: str) -> None:
    assert joined(one, ZoneInfo("Europe/Berlin")) == expected


@pytest.mark.parametrize(
    ("joining", "expected"),
    [
        (BY_NAMES, "one for each camera (gate); --no-join reads each file by itself"),
        (Joining(join=True), "one for each camera (gate)"),
    ],
)
def test_the_way_not_to_join_is_named_where_joining_was_not_asked_for(joining: Joining, expected: str) -> None:
    gate = Wanted("gate", Path("0.mp4"), camera="gate", parts=(Part(Path("0.mp4"), START), Part(Path("1.mp4"), START)))
    assert to_be_joined([gate], joining) == f"2 files are read as 1 recording, {expected}"


def test_a_line_names_the_first_gaps_of_many() -> None:
    line = joined(row(*(gap(float(number), 10.0 * number) for number in range(2, 20))), ZoneInfo("UTC"))
    assert "18 gaps (2.0 s from 2024-05-01 13:00:20+00:00; 3.0 s " in line
    assert line.endswith("6.0 s from 2024-05-01 13:01:00+00:00; …)")


def test_a_folder_that_is_watched_is_announced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive(tmp_path / "gate", [40] * 60)
    assert check_sources({"gate": str(tmp_path / "gate")}) is False
    assert capsys.readouterr().err == "mistwatch: gate: 3 files are read as one recording\n"
    (tmp_path / "gate" / "player.ini").touch()
    check_sources({"gate": str(tmp_path / "gate")})
    _, line = capsys.readouterr().err.splitlines()
    assert line == f"mistwatch: gate: passed over 1 file not recognised as video (1 .ini): {tmp_path}/gate/player.ini"
