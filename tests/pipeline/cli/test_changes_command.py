"""``mistwatch changes`` on a real broker: changes on top of a site's file, and the site that is in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from brokers import noida_db  # noqa: F401  # fixture
from in_process import called

from pipeline.settings import load_site

pytestmark = pytest.mark.realparts


def run(*words: object) -> tuple[object, str, str]:
    return called(*words)


def test_changes_are_set_listed_exported_and_dropped(noida_db: Any, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "site.yaml"
    file.write_text(
        f"site: yard\nkafka: {{bootstrap: '{noida_db.bootstrap}'}}\n"
        "cameras:\n  gate: {source: 'rtsp://192.0.2.7/x', alerts: {open_threshold: 0.5}}\n"
        "  door: {source: 'rtsp://192.0.2.8/x', username: viewer, password: s3cret}\n"
    )
    where = ("--config", file)
    assert run("config", "export", *where)[0] == 0, "the topic does not exist yet"
    status, line, _ = run("changes", "set", "gate", "alerts.open_threshold=0.7", *where, "--by", "ada")
    assert (status, line) == (0, "camera gate: alerts.open_threshold 0.5 → 0.7\n")
    assert run("changes", "set", "late", "source=rtsp://192.0.2.9/x", *where)[0] == 0
    assert run("changes", "remove", "door", *where)[0] == 0

    listed = [json.loads(line) for line in run("changes", "list", *where)[1].splitlines()]
    assert [(each["camera"], each["changes"], each["removed"]) for each in listed] == [
        ("door", {}, True),
        ("gate", {"alerts.open_threshold": 0.7}, False),
        ("late", {"source": "rtsp://192.0.2.9/x"}, False),
    ]
    assert listed[1]["by"] == "ada"

    out = tmp_path / "effective.yaml"
    assert run("config", "export", *where, "--out", out)[0] == 0
    cameras = load_site(out).cameras
    assert set(cameras) == {"gate", "late"}
    assert cameras["gate"].alerts.open_threshold == 0.7

    for camera, change, refusal in [
        ("gone", "alerts.open_threshold=0.7", "camera gone: unknown, or just removed; expected one of gate, door"),
        ("door", "source=rtsp://192.0.2.66/x", "since the camera has a password; change it in the file"),
        ("door", "tls.verify=false", "door: tls.verify: cannot be changed here"),
        ("gate", "source=film.mp4", "expected a live camera"),
        ("gate", "calibration=c.json", "calibration: expected an absolute path (got c.json)"),
    ]:
        status, _, problem = run("changes", "set", camera, change, *where)
        assert status == 2
        assert refusal in problem
        assert problem.count("\n") == 1

    assert run("changes", "drop", "gate", *where)[0] == 0
    status, _, problem = run("changes", "drop", "gate", *where)
    assert status == 2
    assert "camera gate: it has no changes" in problem
