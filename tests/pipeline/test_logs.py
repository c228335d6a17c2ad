"""Log lines are JSON where no person reads along, and never hold a password."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from pipeline import logs


def test_a_line_is_json_off_a_terminal_and_free_of_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("auto", "info")
    logs.get("camera").warning("away", camera="gate", error="rtsp://viewer:hunter2@192.0.2.1/a: refused")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "away"
    assert line["level"] == "warning"
    assert line["camera"] == "gate"
    assert "hunter2" not in json.dumps(line)
    assert "192.0.2.1" in line["error"]


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "warning")
    logs.get("camera").info("connected")
    assert capsys.readouterr().err == ""


def test_an_at_sign_in_the_path_leaves_the_host_in_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    error = "camera gate: rtsp://127.0.0.1:8600/x@y: connection refused: nothing listens there"
    logs.get("worker").warning("camera away", error=error)
    assert json.loads(capsys.readouterr().err)["error"] == error


def test_a_traceback_is_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    try:
        raise OSError("rtsp://viewer:hunter2@192.0.2.1/a")
    except OSError:
        logs.get("camera").exception("bug")
    assert "hunter2" not in capsys.readouterr().err


def test_lines_go_to_what_standard_error_is_when_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live table takes its place for a while; a line that went past it would be overwritten."""
    logs.configure("console")
    instead = io.StringIO()
    monkeypatch.setattr(sys, "stderr", instead)
    logs.get("test").warning("camera away")
    assert "camera away" in instead.getvalue()


def test_a_process_that_configures_nothing_shows_no_credentials_and_nothing_on_standard_output() -> None:
    program = "from pipeline import logs; logs.get('gate').warning('away', source='rtsp://admin:s3cr3t@192.0.2.1/')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "away"
    assert "s3cr3t" not in done.stderr
