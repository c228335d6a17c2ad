"""The live table."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from pipeline.cli.display import StandardOutput, table
from pipeline.live.board import CameraState
from pipeline.live.supervision import Condition, State

AT = datetime(2026, 3, 1, tzinfo=UTC)
RUNNING = Condition(State.STREAMING, AT)
AWAY = Condition(State.BACKING_OFF, AT, "refused", "connection refused")
STATES = [
    CameraState(
        "gate", True, RUNNING, frames=123456, scored=7716, dropped=1042, alerts=17, smoothed=0.9,
        open_threshold=0.5, position_seconds=5025.0,
    ),
    CameraState("a-camera-with-quite-a-long-name-indeed", True, AWAY),
]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_figure_is_readable_at_every_width(width: int) -> None:
    screen = io.StringIO()
    Console(file=screen, width=width).print(table(STATES, width))
    header, gate, away = screen.getvalue().splitlines()  # one line each
    assert all(len(line) <= width for line in (header, gate, away))
    for text in ("camera", "state", "clips", "dropped", "alerts", "score"):
        assert text in header
    for text in ("gate", "streaming", "7716", "1042", "17", "0.90"):
        assert text in gate
    assert away.startswith("a-camera")
    assert "backing off" in away


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_table_shows_gated_clips_where_there_are_some(width: int) -> None:
    screen = io.StringIO()
    gated = [CameraState("door", True, RUNNING, scored=31, gated=1987), *STATES]
    Console(file=screen, width=width).print(table(gated, width))
    header, door, gate, _away = screen.getvalue().splitlines()
    assert header.split()[:6] == ["camera", "state", "clips", "gated", "dropped", "alerts"]
    assert door.split()[2:6] == ["31", "1987", "0", "0"]
    assert all(text in gate for text in ("7716", "1042", "17"))


def test_a_camera_with_two_detectors_has_a_line_for_each() -> None:
    screen = io.StringIO()
    states = [CameraState("gate", True, detector=name) for name in ("fights", "falls")]
    Console(file=screen, width=80).print(table(states, 80))
    assert [line.split()[0] for line in screen.getvalue().splitlines()[1:]] == ["gate/fights", "gate/falls"]


def test_a_name_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    StandardOutput(lambda _error: None).print("gate[/b] [red]yard")
    assert capsys.readouterr().out == "gate[/b] [red]yard\n"
