"""Likeness in an alert's document: the embedding as text, the keys that are left out, and refused contradictions."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import numpy as np
import pytest
from alike_alerts import VERSION, alike, at, begin
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.alerts import event as event_module
from pipeline.alerts.describe import describe
from pipeline.alerts.likeness import MutedBecause, embedding_from, embedding_text
from pipeline.alerts.reading import read_event

SCHEMA = Path(event_module.__file__).parent / "schema" / "alert.v1.schema.json"
JUDGEMENT = UUID("5f0c2c3e-0000-4000-8000-000000000001")


def test_an_embedding_is_little_endian_float16_in_base64() -> None:
    text = embedding_text(np.array([0.6, -0.8], np.float32))
    assert base64.b64decode(text) == struct.pack("<2e", 0.6, -0.8)
    assert embedding_from(text) == pytest.approx([0.6, -0.8], abs=5e-4)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=128).filter(lambda v: np.linalg.norm(v) > 0.01))
def test_an_embedding_survives_the_document(values: list[float]) -> None:
    embedding = (np.array(values) / np.linalg.norm(values)).astype(np.float32)
    read = embedding_from(embedding_text(embedding))
    assert read.dtype == np.float32
    assert np.linalg.norm(read) == pytest.approx(1, abs=1e-6)
    assert read == pytest.approx(embedding, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not base64", "base64"),
        (base64.b64encode(b"\0\0\0").decode(), "base64"),  # three bytes
        ("", "shape"),
        (base64.b64encode(struct.pack("<2e", 0, 0)).decode(), "length 1, got 0"),
        (base64.b64encode(struct.pack("<2e", float("nan"), 1)).decode(), "got nan"),
        (base64.b64encode(struct.pack("<2e", 1, 1)).decode(), r"got 1\.414"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedding_from(text)
    document = json.loads(alike(begin(0), at(0)).to_json())
    document["data"]["likeness"]["embedding"] = text
    with pytest.raises(ValidationError, match=message):
        read_event(json.dumps(document))


def test_the_document_of_an_enriched_alert() -> None:
    plain = begin(5, camera="gate")
    because = MutedBecause(judgement=JUDGEMENT, similarity=0.97, note="the flag")
    document = json.loads(alike(plain, at(0), size=3, muted_because=because).to_json())
    data = document["data"]
    assert data["likeness"] == {
        "embedding_version": VERSION,
        "embedding": base64.b64encode(struct.pack("<2e", 1, 0)).decode(),
        "group": {
            "id": str(plain.data.alert_id),
            "size": 3,
            "first_at": "2026-03-01T12:05:00Z",
            "last_day": 2,
            "judgement": None,
            "similarity": 0.9,
            "mute_similarity": 0.9,
        },
        "similar": [],
    }
    assert (data["muted"], data["muted_because"]) == (
        True,
        {"judgement": str(JUDGEMENT), "similarity": 0.97, "note": "the flag"},
    )
    for name in ("likeness", "muted", "muted_because"):
        del data[name]
    assert document == json.loads(plain.to_json())


def test_without_likeness_the_keys_are_absent_and_without_a_mute_its_reason_is() -> None:
    plain = begin(5)
    assert not {"likeness", "muted", "muted_because"} & set(json.loads(plain.to_json())["data"])
    data = json.loads(alike(plain, at(0)).to_json())["data"]
    assert data["muted"] is False
    assert "muted_because" not in data
    assert alike(plain, at(0)).enriched(None, None) == plain


@pytest.mark.parametrize("muted", [False, True])
def test_enriched_documents_are_valid_and_read_back(muted: bool) -> None:
    because = MutedBecause(judgement=JUDGEMENT, similarity=1.0, note="") if muted else None
    event = alike(begin(None), at(30), muted_because=because).captured(12.5)
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
        json.loads(event.to_json())
    )
    assert read_event(event.to_json()) == event
    assert event.captured_monotonic == 12.5


@pytest.mark.parametrize(
    "changes",
    [
        {"muted": True},
        {"muted": False, "muted_because": {"judgement": str(JUDGEMENT), "similarity": 0.9, "note": ""}},
        {"muted_because": {"judgement": str(JUDGEMENT), "similarity": 0.9, "note": ""}},
    ],
)
def test_documents_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    document = json.loads(begin(0).to_json())
    document["data"] |= changes
    with pytest.raises(ValidationError, match="belong to a muted alert"):
        read_event(json.dumps(document))


def test_a_mute_needs_a_likeness() -> None:
    with pytest.raises(ValueError, match="without a likeness cannot be muted"):
        begin(0).enriched(None, MutedBecause(judgement=JUDGEMENT, similarity=0.9, note=""))


def test_a_line_for_people_has_the_group_and_the_mute() -> None:
    plain = begin(5)
    identity = str(plain.data.alert_id)[:8]
    because = MutedBecause(judgement=JUDGEMENT, similarity=0.97, note="the flag\x1b[2J")
    assert describe(alike(plain, at(0), size=3)) == f"{describe(plain)}  group {identity} of 3"
    assert describe(alike(plain, at(0), muted_because=because)).endswith(r"  muted: the flag\x1b[2J")


def test_a_mute_by_a_schedule_needs_no_likeness_and_stays_with_one() -> None:
    outside = begin(5).zoned(("gate",), ("gate",))
    assert (outside.data.muted, outside.data.zones, outside.data.outside_schedule) == (True, ("gate",), ("gate",))
    assert read_event(outside.to_json()) == outside
    assert alike(outside, at(0)).data.muted is True
    within = begin(5).zoned(("gate",), None)
    assert within.data.muted is None
    assert alike(within, at(0)).data.muted is False
