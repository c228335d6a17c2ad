"""The example consumer of the topic, as its page says to start it, against a real broker."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from console_scene import Scene, alert

from deploy.broker.server import BrokerServer
from operators.alerting import AlertState
from operators.drift import DriftTransition
from operators.scores import ClipScore
from pipeline.alerts.drift import drift_event
from pipeline.alerts.likeness import MutedBecause

pytestmark = pytest.mark.realparts
STATES = (AlertState.BEGIN, AlertState.UPDATE, AlertState.END)
SECONDS = 90.0  # for a line; the consumer starts in its own process, on a busy machine


@pytest.fixture
def bootstrap(tmp_path: Path) -> Iterator[str]:
    with BrokerServer(tmp_path / "broker") as server:
        yield server.bootstrap


@pytest.fixture
def scene(bootstrap: str) -> Iterator[Scene]:
    one = Scene(bootstrap)
    yield one
    one.close()


@pytest.fixture
def lines(bootstrap: str, scene: Scene, root: Path, tmp_path: Path) -> Iterator[queue.Queue[str]]:
    """The lines of the running consumer; the topic is there before it starts."""
    del scene
    printed: queue.Queue[str] = queue.Queue()
    command = [sys.executable, str(root / "docs" / "examples" / "consume_alerts.py"), bootstrap]
    with (tmp_path / "consumer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    output = process.stdout
    reading = threading.Thread(target=lambda: [printed.put(line.rstrip("\n")) for line in output], daemon=True)
    reading.start()
    yield printed
    process.terminate()
    process.wait(timeout=30)
    reading.join(timeout=30)


def test_it_prints_begins_and_ends_once_and_leaves_out_the_rest(scene: Scene, lines: queue.Queue[str]) -> None:
    at = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
    begin, update, end = alert("gate", at, states=STATES, peak=0.9)
    muted = alert(
        "yard", at, angle=30.0, muted_because=MutedBecause(judgement=uuid4(), similarity=0.95, note="the flag")
    )
    last, *_ = alert("dock", at + timedelta(minutes=1), peak=0.7)
    clip = ClipScore("gate", "s", 0, 0.0, 60.0, 0.5, "own", "1")
    drift = drift_event(DriftTransition("gate", clip, clip, 20, 0.5), site="yard", run="")
    assert all(event.data.muted for event in muted)

    scene.events(begin, begin, drift, *muted, update, end, end, last)
    printed = [lines.get(timeout=SECONDS) for _ in range(3)]

    begun, ended, _ = (json.loads(event.to_json())["data"] for event in (begin, end, last))
    assert printed[0] == f"{begun['started_at']} gate: score {begun['peak']['smoothed_score']:.2f}"
    assert printed[0].startswith("2026-05-04T12:00:00")
    assert printed[1] == f"{ended['ended_at']} gate: over, below_threshold"
    assert printed[2].startswith("2026-05-04T12:01:00")
    assert " dock: score 0." in printed[2]  # so neither the duplicates nor drift nor the muted alert printed a line


def test_an_alert_that_began_before_is_not_ended_here(scene: Scene, lines: queue.Queue[str]) -> None:
    at = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
    _, end = alert("gate", at)
    begin, _ = alert("dock", at)
    scene.events(end, begin)
    assert "dock" in lines.get(timeout=SECONDS)
