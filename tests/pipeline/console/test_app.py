"""The HTTP API: its answers are as its description says, its errors are sentences, its files are confined."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import console_scene as made
import jsonschema
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from operators.alerting import AlertState
from pipeline.access_settings import AccessSettings
from pipeline.alerts.live_picture import HEADER, HeatGrid, LivePicture
from pipeline.console.access import Access, protect
from pipeline.console.api import ConsoleParts
from pipeline.console.app import create_app
from pipeline.console.evidence_files import EvidenceFiles
from pipeline.console.state import ConsoleState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PASSWORD = "hunter2secret"


class Record:
    """As kafka-python gives a record."""

    def __init__(self, key: str, value: bytes | None, at: datetime = NOW, headers: Any = ()) -> None:
        self.key, self.value, self.headers = key.encode(), value, list(headers)
        self.timestamp = at.timestamp() * 1000


@pytest.fixture
def parts(tmp_path: Path) -> ConsoleParts:
    state = ConsoleState(clock=lambda: NOW)
    folder = tmp_path / "evidence"
    (folder / "gate").mkdir(parents=True)
    (folder / "gate" / "peak.jpg").write_bytes(b"\xff\xd8 a picture of the peak")
    (folder / "gate" / "film.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "gate" / "film.film.json").write_text("{}")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    (folder / "gate" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "gate" / "outbox.sqlite").write_bytes(b"not evidence")
    message = f"camera gate: rtsp://admin:{PASSWORD}@10.0.0.7/stream cannot be opened"
    state.take_report(Record("gate", made.report("gate", "backing_off", message=message).to_json(), NOW))
    state.take_report(Record("yard", made.report("yard").to_json(), NOW - timedelta(seconds=40)))
    for record in made.score_records("gate", [0.2] * 300 + [0.8] * 12 + [0.2] * 300, until=NOW):
        state.take_score(Record(record.key, record.to_json()))
    picture = (folder / "gate" / "peak.jpg").as_uri()
    for number in range(5):
        at = NOW - timedelta(minutes=10 * number + 5)
        for event in made.alert("gate", at, evidence=[picture], angle=10.0 * number, zones=("lawn",)):
            state.take_alert(Record("gate", event.to_json(), at))
    gone = made.alert("yard", NOW - timedelta(days=2), evidence=["file:///elsewhere/yard/gone.jpg"])
    for event in gone:
        state.take_alert(Record("yard", event.to_json(), NOW - timedelta(days=2)))
    heat = HeatGrid.of(made.heat_at(0.5, 0.5, 64, 48), 64, 48)
    header = LivePicture(site=made.SITE, camera="gate", received_at=NOW, width=64, height=48, heat=heat)
    jpeg = b"\xff\xd8 live"
    state.take_picture(Record("gate", jpeg, NOW, [(HEADER, header.model_dump_json().encode())]))
    (tmp_path / "users.yaml").write_text("users: {}\n")
    return ConsoleParts(state, EvidenceFiles(folder), users_file=tmp_path / "users.yaml")


@pytest.fixture
def client(parts: ConsoleParts) -> Iterator[TestClient]:
    with TestClient(create_app(parts), raise_server_exceptions=True) as client:
        yield client


@pytest.fixture
def guarded(parts: ConsoleParts) -> Iterator[TestClient]:
    """The application behind its guard, as it is served."""
    app = protect(create_app(parts), Access(AccessSettings(), "127.0.0.1"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def alert_ids(client: TestClient, **query: Any) -> list[str]:
    return [one["id"] for one in client.get("/api/alerts", params=query).json()["alerts"]]


def test_every_answer_is_as_the_api_describes_it(client):
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.")
    first = alert_ids(client)[0]
    values = {"camera": "gate", "alert_id": first, "name": "gate/peak.jpg"}
    seen = 0
    for template, methods in document["paths"].items():
        if "get" not in methods or template == "/api/stream":
            continue
        query = {"threshold": 0.7} if template.endswith("what-if") else {}
        answer = client.get(template.format(**values), params=query)
        assert answer.status_code == 200, (template, answer.text)
        schema = methods["get"]["responses"]["200"].get("content", {}).get("application/json", {}).get("schema")
        if schema is not None:
            whole = {**schema, "components": document["components"]}
            jsonschema.Draft202012Validator(whole).validate(answer.json())
            seen += 1
    assert seen >= 9


def test_a_camera_that_no_worker_vouches_for_is_never_live(client):
    gate, yard = client.get("/api/cameras").json()["cameras"]
    assert (gate["camera"], gate["is_live"], gate["is_stale"]) == ("gate", False, False)
    assert (yard["camera"], yard["state"], yard["is_live"], yard["is_stale"]) == ("yard", "streaming", False, True)


def test_no_credential_of_a_camera_is_in_any_answer(client):
    paths = ["/api/cameras", "/api/cameras/gate", "/api/health", "/", "/cameras/gate", "/api/alerts"]
    texts = [client.get(path).text for path in paths]
    assert any("10.0.0.7/stream" in text for text in texts)  # the reason itself is there
    assert not any(PASSWORD in text for text in texts)


def test_a_camera_leaves_the_wall_when_its_worker_removes_it(client, parts):
    parts.state.take_report(Record("yard", None))
    assert [one["camera"] for one in client.get("/api/cameras").json()["cameras"]] == ["gate"]


def test_the_timeline_has_the_scores_and_the_alerts(client):
    found = client.get("/api/cameras/gate/scores", params={"hours": 1, "points": 100}).json()
    assert len(found["times"]) == 100
    assert max(found["most"]) == 0.8
    assert found["threshold"] == made.JUDGED.open_threshold
    assert len(found["alerts"]) == 5
    assert found["gaps"] == 0


def test_what_if_counts_beside_the_present_threshold(client):
    found = client.get("/api/cameras/gate/what-if", params={"threshold": 0.9, "hours": 1}).json()
    assert (found["would_be"]["count"], found["present"]["count"]) == (0, 1)
    assert found["present"]["per_hour"] == pytest.approx(3600 / (612 * made.STEP), rel=1e-3)
    answer = client.get("/api/cameras/gate/what-if", params={"threshold": 0})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("threshold:")


def test_filters_and_pages_of_the_list(client):
    everything = alert_ids(client)
    assert len(everything) == 6
    first = client.get("/api/alerts", params={"limit": 4}).json()
    second = client.get("/api/alerts", params={"limit": 4, "cursor": first["following"]}).json()
    assert [one["id"] for one in first["alerts"] + second["alerts"]] == everything
    assert second["following"] is None
    assert len(alert_ids(client, camera="gate", place="LAWN")) == 5
    assert len(alert_ids(client, since=(NOW - timedelta(minutes=20)).isoformat())) == 2
    assert alert_ids(client, camera="yard", muted=True) == []
    assert client.get("/api/alerts", params={"cursor": "nonsense"}).status_code == 422


def test_an_alert_says_whether_its_picture_is_there(client):
    here = client.get(f"/api/alerts/{alert_ids(client, camera='gate')[0]}").json()
    assert here["evidence"] == "there"
    assert client.get(here["pictures"][0]).content.startswith(b"\xff\xd8")
    assert len(here["scores"]) == 19
    gone = client.get(f"/api/alerts/{alert_ids(client, camera='yard')[0]}").json()
    assert (gone["evidence"], gone["pictures"], gone["can_judge"]) == ("gone", [], False)


def test_a_film_is_served_in_ranges(client, parts):
    (begin,) = made.alert("gate", NOW, states=[AlertState.BEGIN])
    document = json.loads(begin.to_json())
    document["data"]["film"] = {
        "uri": "file:///on/another/machine/gate/film.mp4",
        "notes": "file:///on/another/machine/gate/film.film.json",
        "started_at": "2026-03-01T11:59:50Z",
        "seconds": 20.0,
        "alert_starts_at_seconds": 10.0,
    }
    parts.state.take_alert(Record("gate", json.dumps(document).encode()))
    film = client.get(f"/api/alerts/{begin.data.alert_id}").json()["film"]
    assert film["url"] == "/evidence/gate/film.mp4"
    assert film["alert_starts_at_seconds"] == 10.0
    assert film["heat"] == "/evidence/gate/film.film.json"
    part = client.get(film["url"], headers={"range": "bytes=256-511"})
    assert (part.status_code, part.content) == (206, bytes(range(256)))
    assert part.headers["content-range"] == "bytes 256-511/10240"
    assert part.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    "path",
    [
        "gate/link.jpg",
        "gate/outbox.sqlite",
        "../secret.jpg",
        "%2e%2e/secret.jpg",
        "gate/../../secret.jpg",
        "gate%2f..%2f..%2fsecret.jpg",
        "/etc/passwd",
        "gate/a%00.jpg",
        "gate",
        "gate/gone.jpg",
        "x" * 5000 + ".jpg",
    ],
)
def test_no_file_but_evidence_in_its_folder_is_served(client, path):
    answer = client.get(f"/evidence/{path}")
    assert answer.status_code == 404
    assert b"outside" not in answer.content


def test_an_unknown_alert_or_camera_is_a_page_with_a_sentence(client):
    page = client.get("/alerts/00000000-0000-0000-0000-000000000000")
    assert page.status_code == 404
    assert "No alert 00000000" in page.text
    assert "<html" in client.get("/cameras/nowhere").text
    assert client.get("/api/alerts/ffff").json() == {
        "detail": "alert ffff: not among the alerts that the console holds"
    }
    assert client.get("/api/cameras/<b>").status_code == 404


def test_a_name_of_a_camera_cannot_become_markup(client, parts):
    hostile = "<img src=x onerror=alert(1)>"
    parts.state.take_report(Record(hostile, made.report(hostile).to_json()))
    assert "<img src=x" not in client.get("/cameras/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E").text


def test_pages_allow_nothing_inline_and_nothing_from_elsewhere(guarded):
    for path in ("/", "/alerts", "/groups", "/health", "/nothing-here"):
        answer = guarded.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert " style=" not in answer.text
        assert "://" not in answer.text.replace("https://www.w3.org", "")
        assert answer.text.count("<script") == 1


def test_a_form_of_another_page_cannot_judge(client):
    alert = alert_ids(client, camera="gate")[0]
    body = '{"verdict":"normal"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post(f"/api/alerts/{alert}/judgement", content=body, headers={"content-type": kind})
        assert answer.status_code == 422
    # With the right type it arrives, at a console without a broker.
    answer = client.post(f"/api/alerts/{alert}/judgement", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 503


def test_a_record_of_another_version_is_counted_and_left_out(client, parts):
    for take in (parts.state.take_alert, parts.state.take_report):
        take(Record("gate", b"{}"))
        take(Record("gate", b"\xff\xfe"))
    parts.state.take_score(Record("gate/", b"[]"))
    parts.state.take_score(Record("gate", b"a claim"))
    parts.state.take_picture(Record("gate", b"not a jpeg"))
    assert parts.state.foreign == 5
    assert len(alert_ids(client)) == 6


def test_records_that_cannot_be_read_are_counted_and_each_kind_is_logged_once():
    state = ConsoleState(clock=lambda: NOW)
    with capture_logs() as logged:
        for _ in range(3):
            state.take_score(Record("gate/", b'{"site": "yard"}'))
            state.take_report(Record("gate", b"{}"))
            state.take_alert(Record("gate", b"no JSON"))
    assert state.foreign == 9
    assert [line["kind"] for line in logged] == ["a score", "a camera's report", "an alert event"]
    assert logged[0]["reason"] == "camera: Field required"
