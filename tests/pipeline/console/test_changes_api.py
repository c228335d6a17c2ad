"""Changes of cameras by the API: each is a message with its author, and bad input is one sentence with its status."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import console_scene as made
import httpx
import pytest

from pipeline.access_settings import Role
from pipeline.alerts.camera_report import ReportedChange
from pipeline.console.access.roles import least_role
from pipeline.console.serving import Console
from pipeline.live.audit import Change, change_of
from pipeline.live.control_topic import put_camera
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker

ROAD = {"points": [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0]]}
BOW = {"points": [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]}
HOURS = {"timezone": "UTC", "weekdays": ["08:00-18:00"]}
SECONDS = 60.0


@pytest.fixture(scope="module")
def http(console: Console, scene: made.Scene) -> Iterator[httpx.Client]:
    """A client of a console that knows a camera of a file, one of a group, one of a worker without changes."""
    group = CompactedTopic(Broker(scene.bootstrap), "mistwatch.control", partitions=2)
    put_camera(group, "yard", {"source": "rtsp://192.0.2.7/1", "zones": {"sky": ROAD}}, by="eve")
    group.close()
    now = datetime.now(UTC)
    scene.scores(*made.score_records("gate", [0.2] * 20, until=now))
    scene.scores(*made.score_records("gate", [0.2] * 20, until=now, detector="fights"))
    gate = {"settings": {"detector_alerts": {"fights": {"min_clips": 3}}}, "models": {"": "a/1", "fights": "b/1"}}
    scene.reports(
        made.report("gate", takes_changes="site", heartbeat_seconds=600.0, **gate),
        made.report("yard", takes_changes="group", generation=1, heartbeat_seconds=600.0, settings={}),
        made.report("dock", takes_changes="none", heartbeat_seconds=600.0, settings={}),
    )
    with httpx.Client(base_url=console.url, timeout=60, trust_env=False, headers={"origin": console.url}) as client:
        client.headers["x-csrf-token"] = client.get("/api/session").json()["csrf_token"]
        wait_for(lambda: len(console.state.cameras.all()) == 3)
        wait_for(lambda: settings(client, "yard")["zones"])
        wait_for(lambda: client.get("/api/cameras/gate/scores", params={"detector": "fights"}).status_code == 200)
        yield client


def wait_for(right: Any) -> None:
    until = time.monotonic() + SECONDS
    while not right():
        assert time.monotonic() < until
        time.sleep(0.05)


def settings(http: httpx.Client, camera: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/api/cameras/{camera}/settings").json()
    return found


def message(scene: made.Scene, topic: str, key: str) -> tuple[dict[str, Any], Change]:
    """Return the newest message of a key and its change."""
    record = scene.latest(topic)[key]
    change = change_of(record.headers)
    assert change is not None
    assert record.value is not None
    return json.loads(record.value), change


def test_a_threshold_is_a_message_with_who_when_before_and_after(http, scene):
    answer = http.put("/api/cameras/gate/thresholds", json={"open_threshold": 0.7})
    assert answer.status_code == 200, answer.text
    document, change = message(scene, "mistwatch.changes", f"{made.SITE}/gate")
    # The close threshold keeps its share: 0.48 of 0.6 are 0.56 of 0.7.
    assert document["changes"] == {"alerts.open_threshold": 0.7, "alerts.close_threshold": 0.56}
    assert change.by == "local"
    assert abs((change.at - datetime.now(UTC)).total_seconds()) < SECONDS
    assert change.before == {"alerts.open_threshold": None, "alerts.close_threshold": None}
    assert http.put("/api/cameras/gate/thresholds", json={"open_threshold": 0.8}).status_code == 200
    assert message(scene, "mistwatch.changes", f"{made.SITE}/gate")[1].before["alerts.open_threshold"] == 0.7


def test_a_threshold_of_one_detector_leaves_its_other_settings_and_the_other_detectors(http, scene):
    wanted = {"detector": "fights", "open_threshold": 0.5}
    assert http.put("/api/cameras/gate/thresholds", json=wanted).status_code == 200
    changes = message(scene, "mistwatch.changes", f"{made.SITE}/gate")[0]["changes"]
    own = {"min_clips": 3, "open_threshold": 0.5, "close_threshold": 0.4}
    assert changes["detector_alerts.fights"] == own
    answer = http.put("/api/cameras/gate/thresholds", json={"detector": "typo", "open_threshold": 0.5})
    assert answer.status_code == 404
    assert "no detector 'typo' watches it; expected fights" in answer.json()["detail"]


def test_zones_and_a_schedule_are_changed_one_by_one_and_shown_with_their_state(http, scene):
    assert http.patch("/api/cameras/gate/zones", json={"zones": {"road": ROAD, "Tür-2": ROAD}}).status_code == 200
    assert http.patch("/api/cameras/gate/zones", json={"zones": {"Tür-2": None}}).status_code == 200
    assert http.put("/api/cameras/gate/schedule", json=HOURS).status_code == 200
    wait_for(lambda: settings(http, "gate")["schedule"] is not None)
    found = settings(http, "gate")
    assert set(found["zones"]) == {"road"}
    assert found["zones"]["road"]["points"] == ROAD["points"]
    last = found["last_change"]
    assert (last["by"], last["state"]) == ("local", "pending")
    assert [one["name"] for one in last["settings"]] == ["schedule"]
    at = datetime.fromisoformat(last["at"])
    for problem, state in (("the model is away", "refused"), (None, "in_force")):
        seen = ReportedChange(by="local", at=at, problem=problem)
        models = {"": "a/1", "fights": "b/1"}
        scene.reports(
            made.report(
                "gate", takes_changes="site", last_change=seen, settings={}, heartbeat_seconds=600.0, models=models
            )
        )
        wait_for(lambda state=state: settings(http, "gate")["last_change"]["state"] == state)
        assert settings(http, "gate")["last_change"]["problem"] == problem
    assert http.delete("/api/cameras/gate/schedule").status_code == 200
    wait_for(lambda: settings(http, "gate")["schedule"] is None)


def test_a_camera_of_a_group_is_changed_on_the_control_topic(http, scene):
    assert http.patch("/api/cameras/yard/zones", json={"zones": {"road": ROAD}}).status_code == 200
    document, change = message(scene, "mistwatch.control", "yard")
    assert set(document["zones"]) == {"sky", "road"}
    assert (change.by, change.before) == ("local", {"zones.road": None})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "line"),
    [
        ("PATCH", "gone/zones", {"zones": {"a": ROAD}}, 404, "camera gone: not on the topics, or just removed"),
        ("PATCH", "gate/zones", {"zones": {"a": {"points": [[0, 0], [1, 1]]}}}, 422, "a zone needs 3 or more points"),
        ("PATCH", "gate/zones", {"zones": {"a": BOW}}, 422, "the zone crosses itself"),
        ("PATCH", "gate/zones", {"zones": {"a": {"points": [[0, 0], [640, 0], [9, 9]]}}}, 422, "outside the picture"),
        ("PATCH", "gate/zones", {"zones": {"a b": ROAD}}, 422, "zone 'a b': a name begins with"),
        ("PATCH", "dock/zones", {"zones": {"a": ROAD}}, 409, "its worker node-1:4711 takes no changes"),
        ("PUT", "gate/schedule", {"timezone": "Mars/One", "weekdays": ["08:00-18:00"]}, 422, "unknown time zone"),
        ("PUT", "gate/schedule", {"timezone": "UTC", "weekdays": ["8-18"]}, 422, "not hours of a day"),
        ("PUT", "gate/thresholds", {"open_threshold": 1.5}, 422, "open_threshold: Input should be less"),
        ("PUT", "gate/thresholds", {"open_threshold": 0.5, "close_threshold": 0.9}, 422, "must not exceed"),
    ],
)
def test_bad_input_is_one_sentence_and_sends_nothing(http, scene, method, path, body, status, line):
    before = scene.latest("mistwatch.changes")
    answer = http.request(method, f"/api/cameras/{path}", json=body)
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert line in detail
    assert "\n" not in detail
    assert scene.latest("mistwatch.changes") == before


def test_cameras_are_added_and_removed_and_no_credential_goes_out(http, scene):
    answer = http.post(
        "/api/cameras", json={"name": "lab", "source": "rtsp://root:pw-s3cret@192.0.2.9/1", "by": "site"}
    )
    assert answer.status_code == 422
    assert "holds credentials" in answer.json()["detail"]
    assert "s3cret" not in answer.text
    wanted = {"name": "lab", "source": "rtsp://192.0.2.9/1", "by": "site"}
    answer = http.post("/api/cameras", json=wanted)
    assert answer.status_code == 200, answer.text
    assert "192.0.2.9" not in answer.text  # a part of a source can be a secret: no answer repeats it
    document, change = message(scene, "mistwatch.changes", f"{made.SITE}/lab")
    assert document["changes"] == {"source": "rtsp://192.0.2.9/1"}
    assert change.by == "local"
    assert http.post("/api/cameras", json={**wanted, "name": "gate"}).status_code == 409
    assert http.delete("/api/cameras/gate").status_code == 200
    assert message(scene, "mistwatch.changes", f"{made.SITE}/gate")[0] == {"removed": True}
    # The worker has not reported it yet: the camera is on the page, and a change of it would bring it back.
    answer = http.put("/api/cameras/gate/thresholds", json={"open_threshold": 0.5})
    assert answer.status_code == 404
    assert "it has just been removed" in answer.json()["detail"]
    assert http.delete("/api/cameras/yard").status_code == 200
    answer = http.put("/api/cameras/yard/thresholds", json={"open_threshold": 0.5})
    assert answer.status_code == 404


def test_every_route_that_changes_a_camera_has_its_role(http):
    found = {}
    for path, methods in http.get("/api/openapi.json").json()["paths"].items():
        for method in methods:
            if method != "get" and path.startswith("/api/cameras"):
                found[f"{method.upper()} {path}"] = least_role(method.upper(), path.replace("{camera}", "gate"))
    operator = {role for name, role in found.items() if name.endswith(("thresholds", "zones", "schedule"))}
    admin = {role for name, role in found.items() if name.endswith(("/api/cameras", "{camera}"))}
    assert (operator, admin) == ({Role.OPERATOR}, {Role.ADMIN})
    assert len(found) == 7
