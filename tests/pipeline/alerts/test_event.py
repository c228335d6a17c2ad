"""The alert event: valid against the committed schema, the same bytes for the same transition."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import pipeline.alerts.event
from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, alert_id, event_from, schema_text

SCHEMA = Path(pipeline.alerts.event.__file__).parent / "schema" / "alert.v1.schema.json"

shares = st.floats(0, 1)
texts = st.text(min_size=1, max_size=20)  # no surrogates: these cannot be written as UTF-8
moments = st.none() | st.datetimes(
    datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])
)


@st.composite
def transitions(draw: st.DrawFn) -> AlertTransition:
    """Any well-formed transition."""
    camera, segment = draw(texts), draw(texts)
    model, version = draw(texts), draw(texts)
    state = draw(st.sampled_from(AlertState))

    def clip() -> ClipScore:
        start = draw(st.floats(-1e6, 1e9))
        times = ClipTimes(draw(moments), draw(moments), draw(moments), draw(moments))
        length = draw(st.floats(0.01, 100))
        index = draw(st.integers(0, 10**9))
        return ClipScore(camera, segment, index, start, start + length, draw(shares), model, version, times)

    def smoothed() -> SmoothedScore:
        # A moving average may leave [0, 1] by a rounding error.
        return SmoothedScore(clip(), min(draw(shares) * (1 + 1e-15), math.nextafter(1.0, 2.0)))

    return AlertTransition(
        state=state,
        camera=camera,
        segment=segment,
        sequence=0 if state is AlertState.BEGIN else draw(st.integers(1, 10**6)),
        first=clip(),
        last=clip(),
        peak=smoothed(),
        threshold=draw(shares),
        scores=tuple(smoothed() for _ in range(draw(st.integers(0, 3)))),
        end_reason=draw(texts) if state is AlertState.END else None,
    )


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """Of the schema as committed."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def an_end(**changes: Any) -> AlertTransition:
    at = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))

    def clip(index: int, score: float) -> ClipScore:
        begun = at + timedelta(seconds=0.64 * index)
        times = ClipTimes(begun, begun + timedelta(seconds=0.6), begun + timedelta(seconds=0.7), begun)
        return ClipScore("gate", "seg-1", index, 0.64 * index, 0.64 * (index + 1), score, "scorer", "3", times)

    peak = SmoothedScore(clip(5, 0.9), 0.8)
    fields: dict[str, Any] = {
        "state": AlertState.END,
        "camera": "gate",
        "segment": "seg-1",
        "sequence": 2,
        "first": clip(4, 0.7),
        "last": clip(6, 0.1),
        "peak": peak,
        "threshold": 0.6,
        "scores": (peak, SmoothedScore(clip(6, 0.1), 0.3)),
        "end_reason": "below_threshold",
    }
    return AlertTransition(**fields | changes)


def test_the_document_of_one_transition_field_by_field() -> None:
    event = event_from(an_end(), site="yard 7", run="", evidence=["file:///a.jpg"])
    document = json.loads(event.to_json())
    data = document.pop("data")
    identity = data["alert_id"]
    assert document == {
        "specversion": "1.0",
        "id": f"{identity}/2",
        "source": "/mistwatch/yard%207",
        "type": "mistwatch.alert.end",
        "subject": "gate",
        "time": "2026-03-01T10:00:04.690000Z",  # 12:00:00.25+02:00, 6 clips of 0.64 s, 0.6 s
        "datacontenttype": "application/json",
        "dataschema": "urn:mistwatch:alert:v1#/$defs/AlertData",
    }
    peak = {
        "index": 5,
        "started_at": "2026-03-01T10:00:03.450000Z",
        "ended_at": "2026-03-01T10:00:04.050000Z",
        "started_pts_seconds": 3.2,
        "ended_pts_seconds": 3.84,
        "score": 0.9,
        "smoothed_score": 0.8,
    }
    assert data.pop("peak") == peak
    scores = data.pop("scores")
    assert scores[0] == peak
    assert (scores[1]["index"], scores[1]["score"], scores[1]["smoothed_score"]) == (6, 0.1, 0.3)
    assert data == {
        "alert_id": identity,
        "sequence": 2,
        "site": "yard 7",
        "run": "",
        "replay": False,
        "camera": "gate",
        "segment": "seg-1",
        "state": "end",
        "started_at": "2026-03-01T10:00:02.810000Z",
        "started_pts_seconds": 2.56,
        "ended_at": "2026-03-01T10:00:04.690000Z",
        "ended_pts_seconds": 4.48,
        "end_reason": "below_threshold",
        "threshold": 0.6,
        "model": "scorer",
        "model_version": "3",
        "evidence": ["file:///a.jpg"],
        "captured_at": "2026-03-01T10:00:04.790000Z",
        "scored_at": "2026-03-01T10:00:04.090000Z",
        "published_at": None,
    }


@given(transition=transitions(), site=texts, run=st.text(max_size=9), replay=st.booleans())
def test_any_transition_gives_a_valid_document(
    transition: AlertTransition, site: str, run: str, replay: bool, validator: jsonschema.Draft202012Validator
) -> None:
    event = event_from(transition, site=site, run=run, evidence=["file:///x.jpg"], replay=replay)
    for sent in (event, event.published(datetime(2026, 1, 1, tzinfo=UTC))):
        document = json.loads(sent.to_json())
        validator.validate(document)
        assert AlertEvent.model_validate_json(sent.to_json()) == sent
    data = document["data"]
    assert (data["published_at"] is None) == replay
    assert document["id"] == f"{data['alert_id']}/{transition.sequence}"
    if replay:
        assert data["captured_at"] is data["scored_at"] is None


@given(transition=transitions())
def test_the_same_transition_gives_the_same_bytes_on_one_line(transition: AlertTransition) -> None:
    made = [
        event_from(copy.deepcopy(transition), site="s", run="r", evidence=["file:///x.jpg"]).to_json() for _ in "ab"
    ]
    assert made[0] == made[1]
    assert b"\n" not in made[0]


def test_the_committed_schema_is_the_one_of_the_model() -> None:
    assert SCHEMA.read_text() == schema_text(), (
        "run: mistwatch alerts schema > pipeline/alerts/schema/alert.v1.schema.json"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("specversion",), "0.3"),
        (("type",), "mistwatch.alert.middle"),
        (("subject",), ""),
        (("dataschema",), "urn:mistwatch:alert:v2#/$defs/AlertData"),
        (("data", "alert_id"), 7),
        (("data", "sequence"), -1),
        (("data", "state"), "over"),
        (("data", "peak", "score"), 1.5),
        (("data", "scores", 0, "smoothed_score"), -0.1),
        (("data", "evidence"), "file:///a.jpg"),
        (("data", "started_pts_seconds"), None),
        (("data", "camera"), None),
    ],
)
def test_the_schema_and_the_model_refuse_what_is_wrong(
    path: tuple[str | int, ...], value: object, validator: jsonschema.Draft202012Validator
) -> None:
    document = json.loads(event_from(an_end(), site="s", run="", evidence=[]).to_json())
    validator.validate(document)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)
    with pytest.raises(ValidationError):
        AlertEvent.model_validate(document)


@pytest.mark.parametrize(
    "field", ["id", "source", "type", "data", "specversion", "subject", "time", "dataschema", "datacontenttype"]
)
def test_the_schema_demands_every_attribute(field: str, validator: jsonschema.Draft202012Validator) -> None:
    document = json.loads(event_from(an_end(), site="s", run="", evidence=[]).to_json())
    del document[field]
    with pytest.raises(jsonschema.ValidationError, match=field):
        validator.validate(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"end_reason": None},
        {"state": AlertState.UPDATE},  # with a reason
        {"state": AlertState.BEGIN, "end_reason": None},  # with sequence 2
        {"sequence": 0},
    ],
)
def test_a_transition_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        event_from(an_end(**changes), site="s", run="", evidence=[])


def test_a_time_without_a_zone_is_refused() -> None:
    naive = ClipScore("gate", "s", 0, 0.0, 1.0, 0.5, "m", "1", ClipTimes(datetime(2026, 1, 1)))
    with pytest.raises(ValidationError, match="timezone"):
        event_from(an_end(first=naive), site="s", run="", evidence=[])


def test_alert_ids_are_uuid5_and_stay_what_they_are() -> None:
    made = alert_id("yard", "", "gate", "seg-1", 2.56)
    assert made.version == 5
    assert made == alert_id("yard", "", "gate", "seg-1", 2.56 + 1e-9)  # the clock's rounding
    # Readers remember ids: computed by hand as RFC 4122 says, SHA-1 over namespace and name.
    name = b'["yard", "", "gate", "seg-1", "2.560000"]'
    digest = bytearray(hashlib.sha1(UUID("6d9c1f0e-50a8-4b0e-9e0c-6f3c2b6c5a41").bytes + name).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    assert made == UUID(bytes=bytes(digest))


places = st.tuples(texts, st.text(max_size=5), texts, texts, st.integers(0, 10**9).map(lambda micros: micros / 1e6))


@given(places, places)
def test_two_places_never_share_an_alert_id(one: Any, other: Any) -> None:
    assert (alert_id(*one) == alert_id(*other)) == (one == other)


def test_the_detector_is_in_the_document_and_only_where_there_are_several_in_the_id() -> None:
    unnamed = event_from(an_end(), site="yard", run="", evidence=[])
    only = event_from(an_end(), site="yard", run="", evidence=[], detector="fights")
    one, other = (
        event_from(an_end(), site="yard", run="", evidence=[], detector=name, several_detectors=True)
        for name in ("fights", "normal")
    )
    assert [event.data.detector for event in (unnamed, only, one, other)] == [None, "fights", "fights", "normal"]
    assert unnamed.id == only.id
    assert len({event.data.alert_id for event in (unnamed, one, other)}) == 3


def test_a_document_from_before_detectors_is_read() -> None:
    """It comes out with the same bytes, as an outbox of 0.1.0 must."""
    document = event_from(an_end(), site="yard", run="", evidence=[]).to_json()
    assert "detector" not in json.loads(document)["data"]
    read = AlertEvent.model_validate_json(document)
    assert read.data.detector is None
    assert read.to_json() == document
    named = event_from(an_end(), site="yard", run="", evidence=[], detector="fights").to_json()
    assert json.loads(named)["data"]["detector"] == "fights"


def test_a_generation_is_in_the_document_and_in_the_id(make_event: Any) -> None:
    plain = make_event("gate", 3)
    data = plain.data.model_copy(update={"generation": 17})
    event = plain.model_copy(update={"data": data}).numbered(3)
    assert event.id == f"{data.alert_id}/17.3"
    assert event.numbered(4).id == f"{data.alert_id}/17.4"
    late = event.marked_late()
    document = json.loads(late.to_json())["data"]
    assert (document["generation"], document["late"]) == (17, True)
    assert late.id == event.id, "the same event, whether it comes late or not"
    assert AlertEvent.model_validate_json(late.to_json()) == late
    assert {"generation", "late", "last_segment", "peak_segment"}.isdisjoint(json.loads(plain.to_json())["data"])
    with pytest.raises(ValueError, match="id, type and subject must be"):
        AlertEvent.model_validate(event.model_dump() | {"id": plain.id})
