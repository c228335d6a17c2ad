"""The state of each camera on its compacted topic, published through a real broker."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ports import free_port

from deploy.broker.server import BrokerServer
from pipeline.alerts import camera_report
from pipeline.alerts.camera_report import CameraReport, camera_schema_text
from pipeline.live.board import Board
from pipeline.live.listener import Watch
from pipeline.live.reporting import CameraReports
from pipeline.live.supervision import Condition, State
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker, BrokerUnavailableError

SCHEMA = Path(camera_report.__file__).parent / "schema" / "camera.v1.schema.json"
AT = datetime(2026, 3, 1, tzinfo=UTC)
TOPICS = iter(f"cameras-{number}" for number in range(1000))


class Reported:
    """A board of which the calls are made by hand, and its reports as the topic has them."""

    def __init__(self, bootstrap: str, **options: Any) -> None:
        self.topic = CompactedTopic(Broker(bootstrap), next(TOPICS), partitions=1)
        self.board = Board()
        self.reports = CameraReports(self.board, self.topic, site="yard", worker="w1", **options)
        self.reports.start()

    def both(self, call: Callable[[Any], None]) -> None:
        call(self.board)
        call(self.reports)

    def add(self, camera: str, *detectors: str) -> None:
        watches = [Watch(camera, detector) for detector in detectors or ("",)]
        self.both(lambda one: one.camera_added(camera, watches, live=True))

    def change(self, camera: str, state: State, reason: str = "", message: str = "") -> None:
        self.both(lambda one: one.condition_changed(camera, Condition(state, AT, reason, message)))

    @property
    def latest(self) -> dict[str, CameraReport]:
        return {key: CameraReport.model_validate_json(each.value or b"") for key, each in self.topic.latest().items()}


@pytest.fixture
def reported(broker: str) -> Iterator[Reported]:
    made = Reported(broker)
    yield made
    made.reports.close(1.0)


def wait_for_topic(reported: Reported, until: Any) -> None:
    """Wait for the first report: the topic does not exist before."""

    def exists() -> bool:
        with contextlib.suppress(BrokerUnavailableError):
            return bool(reported.latest)
        return False

    until(exists, "the first report")


def states(reported: Reported) -> dict[str, str]:
    return {camera: report.state for camera, report in reported.latest.items()}


@pytest.mark.realparts
class TestTheTopic:
    def test_a_change_is_reported_and_a_removed_camera_leaves_the_topic(
        self, reported: Reported, make_event: Any, until: Any
    ) -> None:
        reported.add("gate", "fights", "falls")
        reported.add("yard")
        reported.change("yard", State.BACKING_OFF, "refused", "camera yard: connection refused")
        reported.change("gate", State.STREAMING)
        begin = make_event("gate", 0)
        reported.both(lambda one: one.accepted(Watch("gate", "falls"), begin))
        wait_for_topic(reported, until)
        until(lambda: (gate := reported.latest.get("gate")) is not None and gate.open_alerts, "the alert is reported")
        gate, yard = reported.latest["gate"], reported.latest["yard"]
        assert (gate.site, gate.worker, gate.generation, gate.state, gate.reason) == (
            "yard", "w1", None, "streaming", None,
        )  # fmt: skip
        assert gate.open_alerts == [begin.data.alert_id]
        assert (yard.state, yard.reason, yard.message) == ("backing_off", "refused", "camera yard: connection refused")
        assert yard.since == AT
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(gate.to_json()))

        end = begin.model_copy(update={"data": begin.data.model_copy(update={"state": "end"})})
        reported.both(lambda one: one.accepted(Watch("gate", "falls"), end))
        until(lambda: reported.latest["gate"].open_alerts == [], "the alert has ended")
        reported.both(lambda one: one.camera_removed("yard"))
        until(lambda: set(reported.latest) == {"gate"}, "the removed camera leaves the topic")
        reported.change("gate", State.STOPPED, "shutdown")
        assert reported.reports.close(60.0)
        assert states(reported) == {"gate": "stopped"}

    def test_a_camera_that_another_worker_has_taken_keeps_its_state(self, broker: str, until: Any) -> None:
        others: set[str] = set()
        reported = Reported(broker, owns=lambda camera: camera not in others, generation_of=lambda _camera: 7)
        reported.add("gate")
        wait_for_topic(reported, until)
        others.add("gate")
        reported.change("gate", State.STOPPED, "handed over")
        reported.both(lambda one: one.camera_removed("gate"))
        assert reported.reports.close(60.0)
        assert reported.latest["gate"].generation == 7
        assert states(reported) != {"gate": "stopped"}, "the other worker's report would be replaced"

    def test_heartbeats_come_without_a_change(self, broker: str, until: Any) -> None:
        reported = Reported(broker, heartbeat_seconds=0.3)
        reported.add("gate")
        wait_for_topic(reported, until)
        until(lambda: sum(1 for _ in reported.topic.read()) >= 5, "heartbeats")
        assert reported.reports.close(60.0)
        times = [each.published_at for each in reported.topic.read()]
        assert times == sorted(times)
        assert reported.latest["gate"].heartbeat_seconds == 0.3


@pytest.mark.realparts
def test_a_broker_that_comes_late_gets_the_newest_states(tmp_path: Path, until: Any) -> None:
    port = free_port()
    reported = Reported(f"127.0.0.1:{port}")
    reported.add("gate")
    for number in range(50):
        reported.change("gate", State.BACKING_OFF, "refused", f"attempt {number}")
        reported.change("gate", State.CONNECTING, "refused", f"attempt {number}")
    reported.change("gate", State.STREAMING)
    with BrokerServer(tmp_path / "broker", port=port):
        wait_for_topic(reported, until)
        until(lambda: states(reported) == {"gate": "streaming"}, "the newest state")
        assert sum(1 for _ in reported.topic.read()) < 20, "not every state in between"
        assert reported.reports.close(60.0)


def test_without_a_broker_the_end_is_bounded() -> None:
    reported = Reported("127.0.0.1:1")
    reported.add("gate")
    ended = threading.Event()
    threading.Thread(target=lambda: (reported.reports.close(0.5), ended.set()), daemon=True).start()
    assert ended.wait(20)


def report(**changes: Any) -> CameraReport:
    fields: dict[str, Any] = {
        "site": "yard",
        "camera": "gate",
        "worker": "w1",
        "generation": None,
        "live": True,
        "state": "streaming",
        "reason": None,
        "message": None,
        "since": AT,
        "reported_at": AT,
        "heartbeat_seconds": 10.0,
        "frames": 1,
        "last_frame_at": AT,
        "clips": {"scored": 1, "gated": 0, "dropped": {}},
        "open_alerts": [],
        "models": {},
    }
    return CameraReport.model_validate(fields | changes)


@pytest.mark.parametrize(("seconds", "stale"), [(0, False), (30, False), (31, True), (-5, False)])
def test_a_report_is_stale_after_three_heartbeats(seconds: int, stale: bool) -> None:
    assert report().is_stale(AT, AT + timedelta(seconds=seconds)) is stale


def test_fields_of_a_later_version_are_ignored() -> None:
    assert CameraReport.model_validate_json(report().to_json()[:-1] + b',"later":1}') == report()


def test_the_schema_is_committed() -> None:
    command = "mistwatch alerts schema --kind camera > pipeline/alerts/schema/camera.v1.schema.json"
    assert SCHEMA.read_text() == camera_schema_text(), f"run: {command}"
