"""An open alert continued by the assembler of another worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.chain_state import ChainState, ClipState, RowState
from operators.scores import GatedClip, SegmentEnd
from pipeline.alerts.alert_film import FilmLengths
from pipeline.alerts.assembler import AlertAssembler, AssemblerState
from pipeline.alerts.event import alert_id
from pipeline.alerts.evidence_folder import EvidenceFolder
from pipeline.alerts.film import Film
from pipeline.alerts.films import FilmKeeper
from pipeline.scoring.outcomes import Gated
from pipeline.sources.base import FrameSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLIP = ClipState(segment="old", index=4, start=100.0, end=101.0, score=0.9, captured_at=NOW, ended_at=NOW)
ROW = RowState(
    first=CLIP,
    last=CLIP,
    peak=CLIP,
    peak_value=0.8,
    start=100.0,
    until=101.0,
    clips=0,
    sequence=3,
    reported_until=101.0,
    threshold=0.5,
)
STATE = AssemblerState(
    chain=ChainState(model="m", model_version="1", newest=CLIP, smoothed=0.8, held=0.9, row=ROW),
    evidence="file:///evidence/peak.jpg",
    zones=("yard",),
    was_unmuted=True,
)


def assembler(**changes: Any) -> AlertAssembler:
    arguments: dict[str, Any] = {
        "clip": FrameSpec(16, 16),
        "site": "test",
        "run": "",
        "replay": False,
        "pictures": None,
        "on_picture_failed": lambda error: pytest.fail(str(error)),
        "generation": 7,
        "state": TypeAdapter(AssemblerState).validate_json(TypeAdapter(AssemblerState).dump_json(STATE)),
    }
    settings = ChainSettings(alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, max_duration_seconds=5.0))
    return AlertAssembler("gate", settings, **arguments | changes)


def test_an_alert_ends_under_its_id_with_its_picture_and_zones() -> None:
    (end,) = assembler().abandon()
    identity = alert_id("test", "", "gate", "old", 100.0)
    assert end.id == f"{identity}/7.3"
    assert (end.data.end_reason, end.data.evidence, end.data.zones) == ("gap", (STATE.evidence,), ("yard",))
    assert end.data.last_segment is None
    assert end.data.peak_segment is None


def test_its_clips_may_lie_in_another_segment() -> None:
    continued = assembler()
    times = CLIP.clip("gate", "m", "1").times
    (end,) = continued.gated(Gated(GatedClip("gate", "new", 0, 0.0, 9.0, times)))  # it has now lasted its 5 s
    assert (end.data.segment, end.data.last_segment, end.data.peak_segment) == ("old", "new", None)
    assert (end.data.end_reason, end.data.sequence, end.data.ended_pts_seconds) == ("max_duration", 3, 9.0)
    assert continued.open_alert is None


def test_until_a_clip_comes_the_state_is_passed_on_as_it_was() -> None:
    waiting = assembler()
    waiting.segment_over(SegmentEnd("gate", "new", 0, "disconnected"))
    assert waiting.snapshot() == STATE
    assert waiting.open_alert == alert_id("test", "", "gate", "old", 100.0)
    assert waiting.let_go() == []


def test_an_alert_whose_begin_was_refused_is_continued_without_a_word() -> None:
    refused = replace(STATE, refused=True)
    assert assembler(state=refused).abandon() == []
    continued = assembler(state=refused)
    assert continued.snapshot() == refused
    times = CLIP.clip("gate", "m", "1").times
    assert continued.gated(Gated(GatedClip("gate", "new", 0, 0.0, 1.0, times))) == []
    state = continued.snapshot()
    assert state is not None
    assert state.refused, "the next worker says nothing of it either"
    assert continued.gated(Gated(GatedClip("gate", "new", 1, 1.0, 9.0, times))) == []  # it has now lasted its 5 s
    assert continued.open_alert is None
    state = continued.snapshot()
    assert state is not None
    assert not state.refused


def test_a_refusal_belongs_to_its_alert() -> None:
    continued = assembler()
    continued.refuse(alert_id("test", "", "gate", "older", 50.0))
    times = CLIP.clip("gate", "m", "1").times
    continued.gated(Gated(GatedClip("gate", "new", 0, 0.0, 1.0, times)))
    state = continued.snapshot()
    assert state is not None
    assert not state.refused


def test_the_film_that_the_other_worker_has_made_is_passed_on_and_named_by_the_end(tmp_path: Path) -> None:
    film = Film(
        uri="file:///evidence/a.mp4",
        notes="file:///evidence/a.film.json",
        started_at=NOW,
        seconds=12.5,
        alert_starts_at_seconds=6.0,
    )
    state = TypeAdapter(AssemblerState).validate_json(TypeAdapter(AssemblerState).dump_json(replace(STATE, film=film)))
    folder = EvidenceFolder(tmp_path, quota_bytes=1000, max_age_seconds=1.0)
    films = FilmKeeper(folder, FilmLengths(1.0, 1.0, 10.0)).camera("gate")
    continued = assembler(state=state, films=films)
    assert continued.snapshot() == state
    times = CLIP.clip("gate", "m", "1").times
    continued.gated(Gated(GatedClip("gate", "new", 0, 0.0, 1.0, times)))
    later = continued.snapshot()
    assert later is not None
    assert later.film == film
    (end,) = continued.gated(Gated(GatedClip("gate", "new", 1, 1.0, 9.0, times)))
    assert end.data.film == film
    assert b'"film":{"uri":"file:///evidence/a.mp4"' in end.to_json()
    assert list(tmp_path.iterdir()) == []
