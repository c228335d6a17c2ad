"""The judgement event: valid against its committed schema, read back as itself, and in an outbox beside alerts."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from alike_alerts import NOON, at, begin, judged
from pydantic import ValidationError

from pipeline.alerts import judgement
from pipeline.alerts.describe import describe
from pipeline.alerts.judgement import JudgementEvent, judgement_schema_text
from pipeline.alerts.likeness import embedding_text
from pipeline.alerts.outbox import Outbox
from pipeline.alerts.reading import read_event

SCHEMA = Path(judgement.__file__).parent / "schema" / "judgement.v1.schema.json"
TARGET = UUID("11111111-2222-4333-8444-555555555555")


def normal(**changes: Any) -> JudgementEvent:
    given: dict[str, Any] = {"expires_at": NOON + timedelta(days=90), "note": "the flag"} | changes
    return judged(TARGET, "normal", at(0), **given)


def test_the_document_of_a_judged_alert_field_by_field() -> None:
    document = json.loads(normal().published(NOON + timedelta(seconds=1)).to_json())
    identity = document["id"]
    assert UUID(identity).version == 5
    assert document == {
        "specversion": "1.0",
        "id": identity,
        "source": "/mistwatch/yard",
        "type": "mistwatch.judgement",
        "subject": "gate",
        "time": None,
        "datacontenttype": "application/json",
        "dataschema": "urn:mistwatch:judgement:v1#/$defs/JudgementData",
        "data": {
            "judgement_id": identity,
            "site": "yard",
            "about": "alert",
            "target": str(TARGET),
            "camera": "gate",
            "verdict": "normal",
            "note": "the flag",
            "judged_at": "2026-03-01T12:00:00Z",
            "expires_at": "2026-05-30T12:00:00Z",
            "similarity": 0.9,
            "embedding_version": "alike-courtyard/3f2a",
            "exemplars": [embedding_text(at(0))],
            "published_at": "2026-03-01T12:00:01Z",
        },
    }


def test_a_group_is_judged_under_the_name_of_its_site() -> None:
    event = judged(TARGET, "real", at(0), at(5), camera=None)
    assert (event.subject, event.data.about, event.data.camera) == ("yard", "group", None)


@pytest.mark.parametrize("verdict", ["normal", "real", "withdrawn"])
@pytest.mark.parametrize("camera", ["gate", None])
def test_documents_are_valid_and_read_back(verdict: str, camera: str | None) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    event = judged(TARGET, verdict, *([] if verdict == "withdrawn" else [at(0)]), camera=camera)
    for sent in (event, event.published(datetime(2026, 1, 1, tzinfo=UTC))):
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
            json.loads(sent.to_json())
        )
        assert read_event(sent.to_json()) == sent


def test_the_committed_schema_is_the_one_of_the_model() -> None:
    assert SCHEMA.read_text() == judgement_schema_text(), (
        "run: mistwatch alerts schema --kind judgement > pipeline/alerts/schema/judgement.v1.schema.json"
    )


def test_ids_are_of_the_site_the_target_the_verdict_and_the_time() -> None:
    events = [
        normal(),
        normal(site="other"),
        normal(camera=None),
        normal(judged_at=NOON + timedelta(microseconds=1)),
        judged(TARGET, "real", at(0)),
        judged(UUID(int=7), "normal", at(0)),
    ]
    assert len({event.id for event in events}) == len(events)
    assert normal(note="another", similarity=0.5).id == normal().id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera": None}, "a camera belongs to a judgement of an alert"),
        ({"about": "group"}, "a camera belongs to a judgement of an alert"),
        ({"camera": "yard-2"}, "id and subject must be"),
        ({"judgement_id": str(TARGET)}, "id and subject must be"),
        ({"exemplars": []}, "needs at least one exemplar"),
        ({"exemplars": [embedding_text(at(0))] * 17}, "at most 16"),
        ({"exemplars": ["?"]}, "base64"),
        ({"expires_at": "2026-03-01T12:00:00Z"}, "expires_at must be later than judged_at"),
        ({"similarity": 0}, "greater than 0"),
        ({"similarity": 1.5}, "less than or equal to 1"),
        ({"verdict": "boring"}, "'normal', 'real' or 'withdrawn'"),
    ],
)
def test_documents_that_contradict_themselves_are_refused(changes: dict[str, Any], message: str) -> None:
    document = json.loads(normal().to_json())
    document["data"] |= changes
    with pytest.raises(ValidationError, match=message):
        JudgementEvent.model_validate(document)


def test_the_later_judgement_of_a_target_holds_and_ties_are_decided_by_the_id() -> None:
    first, later = normal().data, normal(judged_at=NOON + timedelta(seconds=1)).data
    assert later.replaces(first)
    assert not first.replaces(later)
    assert not first.replaces(first)
    other = judged(TARGET, "real", at(0)).data
    assert other.replaces(first) == (other.judgement_id > first.judgement_id) != first.replaces(other)


def test_a_judgement_is_in_force_until_it_expires() -> None:
    data = normal().data
    assert data.in_force(NOON + timedelta(days=90) - timedelta(microseconds=1))
    assert not data.in_force(NOON + timedelta(days=90))
    assert judged(TARGET, "real", at(0)).data.in_force(NOON + timedelta(days=9000))
    assert not judged(TARGET, "withdrawn").data.in_force(NOON)


def test_an_outbox_keeps_the_order_of_alerts_and_judgements(tmp_path: Path) -> None:
    events = [begin(0), normal(), begin(1)]
    with closing(Outbox(tmp_path / "o", ["kafka"])) as outbox:
        assert [outbox.accept(event) for event in events] == [True] * 3
        assert not outbox.accept(events[1]), "the same event again"
    with closing(Outbox(tmp_path / "o", ["kafka"])) as outbox:
        assert outbox.deliveries("kafka").pending() == events


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            normal(),
            "2026-03-01 12:00:00Z  gate  JUDGED  alert 11111111: normal  mutes alerts of similarity 0.9 and more  "
            "until 2026-05-30 12:00Z  the flag",
        ),
        (judged(TARGET, "real", at(0), camera=None), "2026-03-01 12:00:00Z  yard  JUDGED  group 11111111: real"),
        (judged(TARGET, "withdrawn"), "2026-03-01 12:00:00Z  gate  JUDGED  alert 11111111: withdrawn"),
    ],
)
def test_a_line_for_people(event: JudgementEvent, expected: str) -> None:
    assert describe(event) == expected
