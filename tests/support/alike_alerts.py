"""Hand-made alerts with embeddings, and judgements of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

from operators.alerting import AlertState, AlertTransition
from operators.grouping import Embedding
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.judgement import JudgementEvent, judgement_event
from pipeline.alerts.likeness import GroupSeen, Likeness, MutedBecause, embedding_text

VERSION = "alike-courtyard/3f2a"
#: Wall-clock time in the scene from which alerts are counted.
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(degrees: float, dimensions: int = 2) -> Embedding:
    """Return the direction in a plane; the cosine similarity of two is the cosine of the angle between them."""
    embedding = np.zeros(dimensions, np.float32)
    embedding[:2] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return embedding


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def begin(
    minutes: float | None,
    *,
    camera: str = "gate",
    site: str = "yard",
    sequence: int = 0,
    evidence: Sequence[str] = (),
    replay: bool = False,
) -> AlertEvent:
    """Return the begin of an alert so many minutes after noon, or a later event of it, without likeness.

    Args:
        minutes: None: the times are unknown.
    """
    start = 60.0 * (10_000 + (-9_000.0 if minutes is None else minutes))
    began = None if minutes is None else NOON + timedelta(minutes=minutes)
    times = ClipTimes(began, began, began, began)
    clip = ClipScore(camera, "segment", int(start), start, start + 0.64, 0.75, "m", "1", times)
    peak = SmoothedScore(clip, 0.75)
    state = AlertState.BEGIN if sequence == 0 else AlertState.UPDATE
    step = AlertTransition(state, camera, "segment", sequence, clip, clip, peak, 0.6, (peak,), None)
    return event_from(step, site=site, run="", evidence=list(evidence), replay=replay)


def alike(
    event: AlertEvent,
    embedding: Embedding,
    *,
    group: UUID | None = None,
    size: int = 1,
    similarity: float = 0.9,
    version: str = VERSION,
    muted_because: MutedBecause | None = None,
) -> AlertEvent:
    """Return the event as another worker has enriched it; by default the alert founds its group."""
    seen = GroupSeen(
        id=group or event.data.alert_id,
        size=size,
        first_at=event.data.started_at,
        last_day=None if event.data.started_at is None else size - 1,
        judgement=None,
        similarity=similarity,
        mute_similarity=similarity,
    )
    likeness = Likeness(embedding_version=version, embedding=embedding_text(embedding), group=seen, similar=())
    return event.enriched(likeness, muted_because)


def judged(
    target: UUID,
    verdict: str,
    *exemplars: Embedding,
    camera: str | None = "gate",
    similarity: float = 0.9,
    judged_at: datetime = NOON,
    expires_at: datetime | None = None,
    note: str = "",
    site: str = "yard",
    version: str = VERSION,
) -> JudgementEvent:
    """Return a judgement: of an alert, or with ``camera=None`` of a group."""
    return judgement_event(
        site=site,
        target=target,
        camera=camera,
        verdict=verdict,  # type: ignore[arg-type]
        note=note,
        judged_at=judged_at,
        expires_at=expires_at,
        similarity=similarity,
        embedding_version=version,
        exemplars=exemplars,
    )
