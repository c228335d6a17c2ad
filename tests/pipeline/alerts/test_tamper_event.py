"""The tamper event: valid against its committed schema, read back as itself, and left out by readers of alerts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from operators.tamper.kinds import ALL_KINDS, Moment, TamperKind, TamperTransition
from pipeline.alerts import tamper
from pipeline.alerts.describe import describe
from pipeline.alerts.reading import read_event
from pipeline.alerts.tamper import TamperEvent, tamper_event, tamper_schema_text
from pipeline.alerts.topic_memory import TopicMemory

SCHEMA = Path(tamper.__file__).parent / "schema" / "tamper.v1.schema.json"


def transition(reason: str | None = None, kind: TamperKind = TamperKind.COVERED) -> TamperTransition:
    first = Moment("a", 100.5, datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    last = Moment("b", 7.25, datetime(2026, 3, 1, 12, 0, 11, tzinfo=UTC))
    return TamperTransition("gate", kind, first, last, 0.91, 0.6, reason)


def test_the_document_of_a_begin_field_by_field() -> None:
    event = tamper_event(transition(), site="yard 7", run="", evidence=["file:///e/gate/x.jpg"])
    document = json.loads(event.published(datetime(2026, 3, 1, 13, 0, 1, tzinfo=UTC)).to_json())
    identity = document["data"]["tamper_id"]
    assert document == {
        "specversion": "1.0",
        "id": f"{identity}/0",
        "source": "/mistwatch/yard%207",
        "type": "mistwatch.tamper.begin",
        "subject": "gate",
        "time": "2026-03-01T12:00:00Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:mistwatch:tamper:v1#/$defs/TamperData",
        "data": {
            "tamper_id": identity,
            "sequence": 0,
            "site": "yard 7",
            "run": "",
            "replay": False,
            "camera": "gate",
            "kind": "covered",
            "state": "begin",
            "segment": "a",
            "started_at": "2026-03-01T12:00:00Z",
            "started_pts_seconds": 100.5,
            "last_segment": "b",
            "last_at": "2026-03-01T12:00:11Z",
            "last_pts_seconds": 7.25,
            "end_reason": None,
            "measure": 0.91,
            "threshold": 0.6,
            "evidence": ["file:///e/gate/x.jpg"],
            "published_at": "2026-03-01T13:00:01Z",
        },
    }


def test_a_shared_camera_has_a_generation_and_the_id_of_before() -> None:
    plain = tamper_event(transition(), site="yard", run="")
    shared = tamper_event(transition(), site="yard", run="", generation=7)
    late = shared.marked_late()
    assert plain.id == shared.id == late.id
    assert not {"generation", "late"} & json.loads(plain.to_json())["data"].keys()
    assert json.loads(shared.to_json())["data"].items() >= {"generation": 7}.items()
    assert "late" not in json.loads(shared.to_json())["data"]
    assert json.loads(late.to_json())["data"].items() >= {"generation": 7, "late": True}.items()
    jsonschema.validate(json.loads(late.to_json()), json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert read_event(late.to_json()) == late


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == tamper_schema_text()


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
@pytest.mark.parametrize("reason", [None, "cleared", "closed"])
def test_every_event_is_valid_and_is_read_back(kind: TamperKind, reason: str | None) -> None:
    event = tamper_event(transition(reason, kind), site="yard", run="r", replay=True)
    jsonschema.validate(json.loads(event.to_json()), json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert read_event(event.to_json()) == event
    assert event.published(datetime.now(UTC)) == event  # a replay has no times of handling


def test_begin_and_end_share_an_id_that_another_kind_has_not() -> None:
    begin, end = (tamper_event(transition(reason), site="yard", run="") for reason in (None, "cleared"))
    other = tamper_event(transition(kind=TamperKind.MOVED), site="yard", run="")
    assert begin.data.tamper_id == end.data.tamper_id != other.data.tamper_id
    assert (begin.id, end.id) == (f"{begin.data.tamper_id}/0", f"{begin.data.tamper_id}/1")


@pytest.mark.parametrize(
    "change", [{"type": "mistwatch.tamper.end"}, {"subject": "yard"}, {"id": "x/0"}, {"data": {"sequence": 1}}]
)
def test_a_document_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    document = json.loads(tamper_event(transition(), site="yard", run="").to_json())
    data = {**document["data"], **(change.pop("data", None) or {})}  # type: ignore[dict-item]
    with pytest.raises(ValidationError):
        TamperEvent.model_validate({**document, **change, "data": data})


def test_one_line_for_a_person() -> None:
    begin = describe(tamper_event(transition(), site="yard", run="", evidence=["file:///e/gate/x.jpg"]))
    assert "gate  TAMPER  covered: measure 0.91 (counts from 0.6)  file:///e/gate/x.jpg" in begin
    assert "gate  TAMPER  covered is over" in describe(tamper_event(transition("cleared"), site="yard", run=""))


def test_the_memory_of_alerts_leaves_it_out() -> None:
    TopicMemory().take(tamper_event(transition(), site="yard", run=""))
