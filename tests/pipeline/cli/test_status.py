"""`mistwatch status` as a person meets it, against a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.alerts.camera_report import CameraReport
from pipeline.sinks.compacted_topic import CompactedTopic, NewRecord
from pipeline.sinks.kafka_broker import Broker

TOPICS = iter(f"status-{number}" for number in range(1000))


def status(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.cli", "status", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"},
        **options,
    )


def report(camera: str, state: str = "streaming", heartbeat: float = 60.0, **changes: Any) -> NewRecord:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "site": "yard",
        "camera": camera,
        "worker": "box:7",
        "generation": None,
        "live": True,
        "state": state,
        "reason": None,
        "message": None,
        "since": now - timedelta(hours=3, minutes=5, seconds=20),
        "reported_at": now,
        "heartbeat_seconds": heartbeat,
        "frames": 1,
        "last_frame_at": None,
        "clips": {"scored": 71, "gated": 5, "dropped": {"overload": 3, "error": 1}},
        "open_alerts": [],
        "models": {"": "m/1"},
    }
    return NewRecord(camera, CameraReport.model_validate(fields | changes).to_json())


@pytest.fixture
def topic(broker: str) -> CompactedTopic:
    return CompactedTopic(Broker(broker), next(TOPICS), partitions=1)


@pytest.mark.realparts
class TestStatus:
    def test_cameras_that_are_well(self, topic: CompactedTopic) -> None:
        alert = "1c2f0a9e-0000-4000-8000-000000000000"
        topic.send_all_now(
            [
                report("yard"),
                report("gate", open_alerts=[alert]),
                report("door", "backing_off", reason="refused", message="camera door: connection refused"),
                report("gone"),
                NewRecord("gone", None),
                report("other", "failed", site="elsewhere"),
            ]
        )
        done = status("--bootstrap", topic.broker.bootstrap, "--topic", topic.topic, "--site", "yard")
        assert done.returncode == 0, done.stderr
        header, door, gate, yard = done.stdout.splitlines()
        assert header.split()[:4] == ["camera", "state", "for", "reason"]
        assert door.startswith("door")
        assert "backing off" in door
        assert "connection refused" in door
        assert "camera door:" not in door
        assert "1c2f0a9e" in gate
        assert "3 h 05 min" in gate
        assert yard.split() == ["yard", "streaming", "3", "h", "05", "min", "box:7", "–", "71", "5", "4"]

    def test_a_stale_and_a_failed_camera_need_attention(self, topic: CompactedTopic) -> None:
        topic.send_all_now(
            [
                report("gate", heartbeat=0.001),
                report("yard", "failed", reason="usage", message="camera yard: port must be 1 to 65535"),
                report("door"),
            ]
        )
        topic.send_now("strange", b"{}")
        where = ("--bootstrap", topic.broker.bootstrap, "--topic", topic.topic)
        done = status(*where)
        assert done.returncode == 1
        assert "stale (" in done.stdout
        assert "was streaming" in done.stdout
        foreign, attention = done.stderr.splitlines()
        assert foreign == (
            f"mistwatch: camera 'strange': not a state of this version, left out: {topic.topic}, partition 0, offset 3"
        )
        assert attention == "mistwatch: 2 of 3 cameras need attention: stale: gate; failed: yard"
        as_json = status(*where, "--json")
        assert as_json.returncode == 1
        documents = [json.loads(line) for line in as_json.stdout.splitlines()]
        assert {each["camera"]: (each["state"], each["stale"]) for each in documents} == {
            "door": ("streaming", False),
            "gate": ("streaming", True),
            "yard": ("failed", False),
        }

    def test_an_empty_and_a_missing_topic(self, topic: CompactedTopic) -> None:
        where = ("--bootstrap", topic.broker.bootstrap, "--topic", topic.topic)
        missing = status(*where)
        assert (missing.returncode, missing.stdout) == (1, "")
        assert missing.stderr.endswith(f"topic {topic.topic} does not exist\n")
        topic.ensure()
        empty = status(*where)
        assert empty.returncode == 1
        assert empty.stderr == "mistwatch: no camera has reported its state\n"


@pytest.mark.parametrize("arguments", [(), ("--bootstrap", "127.0.0.1:1", "--config", "site.yaml")])
def test_the_brokers_are_named_once(arguments: tuple[str, ...]) -> None:
    done = status(*arguments)
    assert done.returncode == 2
    assert done.stderr == "mistwatch: status: name the brokers with --bootstrap, or a configuration with --config\n"
