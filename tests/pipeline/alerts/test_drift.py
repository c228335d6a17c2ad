"""The drift event: valid against its committed schema, read back as itself, and in an outbox beside alerts."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from operators.drift import DriftTransition
from operators.scores import ClipScore, ClipTimes
from pipeline.alerts import drift
from pipeline.alerts.describe import describe
from pipeline.alerts.drift import DriftEvent, drift_event, drift_schema_text
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox
from pipeline.alerts.reading import read_event

SCHEMA = Path(drift.__file__).parent / "schema" / "drift.v1.schema.json"


def transition(reason: str | None = None, *, camera: str = "gate") -> DriftTransition:
    times = ClipTimes(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), datetime(2026, 3, 1, 12, 0, 0, 100_000, tzinfo=UTC))
    later = ClipTimes(datetime(2026, 3, 1, 12, 59, tzinfo=UTC), datetime(2026, 3, 1, 13, 0, tzinfo=UTC))
    first = ClipScore(camera, "a", 7, 0.7, 0.8, 0.5, "own", "3", times)
    last = ClipScore(camera, "b", 9, 3540.0, 3600.0, 0.5, "own", "3", later)
    return DriftTransition(camera, first, last, 600, 0.5, reason)


def test_the_document_of_an_end_field_by_field() -> None:
    event = drift_event(transition("as_learned_again"), site="yard 7", run="", detector="own")
    document = json.loads(event.published(datetime(2026, 3, 1, 13, 0, 1, tzinfo=UTC)).to_json())
    identity = document["data"]["drift_id"]
    assert document == {
        "specversion": "1.0",
        "id": f"{identity}/1",
        "source": "/mistwatch/yard%207",
        "type": "mistwatch.drift",
        "subject": "gate",
        "time": "2026-03-01T13:00:00Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:mistwatch:drift:v1#/$defs/DriftData",
        "data": {
            "drift_id": identity,
            "sequence": 1,
            "site": "yard 7",
            "run": "",
            "replay": False,
            "camera": "gate",
            "detector": "own",
            "state": "end",
            "segment": "a",
            "started_at": "2026-03-01T12:00:00Z",
            "started_pts_seconds": 0.7,
            "last_segment": "b",
            "last_at": "2026-03-01T13:00:00Z",
            "last_pts_seconds": 3600.0,
            "end_reason": "as_learned_again",
            "clips": 600,
            "share": 0.5,
            "level": 0.25,
            "learned_share": 0.1,
            "model": "own",
            "model_version": "3",
            "published_at": "2026-03-01T13:00:01Z",
        },
    }


@pytest.mark.parametrize("reason", [None, "as_learned_again", "model_changed", "closed"])
@pytest.mark.parametrize("replay", [False, True])
def test_documents_are_valid_and_read_back(reason: str | None, replay: bool) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    event = drift_event(transition(reason), site="s", run="r", replay=replay)
    for sent in (event, event.published(datetime(2026, 1, 1, tzinfo=UTC))):
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
            json.loads(sent.to_json())
        )
        assert read_event(sent.to_json()) == sent
        assert (sent.data.published_at is None) == (replay or sent is event)


def test_the_committed_schema_is_the_one_of_the_model() -> None:
    assert SCHEMA.read_text() == drift_schema_text(), (
        "run: mistwatch alerts schema --kind drift > pipeline/alerts/schema/drift.v1.schema.json"
    )


def test_ids_are_of_the_place_the_time_and_one_of_several_detectors() -> None:
    def identity(step: DriftTransition, detector: str, *, several: bool) -> str:
        return drift_event(step, site="s", run="", detector=detector, several_detectors=several).id

    alone = identity(transition(), "own", several=False)
    assert identity(transition(), "other", several=False) == alone
    assert identity(transition("closed"), "own", several=False) == alone[:-1] + "1"
    assert identity(transition(camera="yard"), "own", several=False) != alone
    assert len({alone, *(identity(transition(), name, several=True) for name in ("own", "other"))}) == 3


@pytest.mark.parametrize(
    "changes", [{"sequence": 0}, {"state": "begin"}, {"end_reason": None}, {"camera": "yard"}, {"share": 1.5}]
)
def test_documents_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    document = json.loads(drift_event(transition("closed"), site="s", run="").to_json())
    document["data"] |= changes
    with pytest.raises(ValidationError):
        DriftEvent.model_validate(document)


def test_an_unknown_type_is_refused_and_an_alert_is_an_alert(make_event: Any) -> None:
    alert = make_event("gate", 0)
    assert read_event(alert.to_json()) == alert
    assert isinstance(read_event(alert.to_json()), AlertEvent)
    with pytest.raises(ValidationError, match=r"mistwatch\.tamper\.begin"):
        read_event(json.dumps(json.loads(alert.to_json()) | {"type": "mistwatch.weather"}))


def test_an_outbox_keeps_the_order_of_alerts_and_drift(tmp_path: Path, make_event: Any) -> None:
    events = [make_event("gate", 0), drift_event(transition(), site="s", run=""), make_event("gate", 1)]
    with closing(Outbox(tmp_path / "o", ["kafka"])) as outbox:
        assert [outbox.accept(event) for event in events] == [True] * 3
        assert not outbox.accept(events[1]), "the same event again"
    with closing(Outbox(tmp_path / "o", ["kafka"])) as outbox:
        assert outbox.deliveries("kafka").pending() == events


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            transition(),
            "2026-03-01 12:00:00Z  0:00:00.7-1:00:00.0  gate (own)  DRIFT   no longer looks as it was learned: 50% of "
            "the clips are as rare as 10% were",
        ),
        (
            transition("model_changed"),
            "2026-03-01 13:00:00Z  0:00:00.7-1:00:00.0  gate (own)  DRIFT   drift is over: 50% of the clips are as "
            "rare as 10% were  ended: model_changed",
        ),
    ],
)
def test_a_line_for_people(step: DriftTransition, expected: str) -> None:
    assert describe(drift_event(step, site="s", run="", detector="own")) == expected
