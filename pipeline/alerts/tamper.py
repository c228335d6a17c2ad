"""The tamper events: a camera no longer watches its scene, or does again.

One tampering is one ``tamper_id``, with two events: 0 (``begin``) and 1 (``end``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid5

from pydantic import Field, model_validator

from operators.tamper.kinds import TamperKind, TamperTransition
from pipeline.alerts.cloud_event import (
    CloudEvent,
    Document,
    Generation,
    Seconds,
    Utc,
    rounded,
    schema_text_of,
    source_of,
)
from pipeline.alerts.event import alert_id

BEGIN_TYPE: Final = "mistwatch.tamper.begin"
END_TYPE: Final = "mistwatch.tamper.end"
#: Names the schema of ``data``: the definition TamperData in schema/tamper.v1.schema.json.
DATA_SCHEMA: Final = "urn:mistwatch:tamper:v1#/$defs/TamperData"


class TamperData(Document):
    """One tampering as it is known at its begin or at its end."""

    tamper_id: UUID = Field(
        description="one per tampering; UUIDv5 of site, run, camera, kind, segment and PTS of its first picture"
    )
    sequence: Literal[0, 1] = Field(description="0 for the begin, 1 for the end")
    site: str
    run: str = Field(description="names the run over recordings; empty for live cameras")
    replay: bool = Field(description="true for a recording: its events have no times of handling")
    camera: Annotated[str, Field(min_length=1)]
    kind: TamperKind = Field(
        description="frozen, corrupt, covered, blinded, defocused or moved; readers must expect further kinds"
    )
    state: Literal["begin", "end"]
    segment: str = Field(description="the unbroken stretch of the stream in which it began")
    started_at: Utc | None = Field(description="wall-clock time of its first picture (UTC), null when unknown")
    started_pts_seconds: Seconds = Field(description="PTS of that picture, on the clock of its segment")
    last_segment: str = Field(description="the stretch of the stream in which this event was decided")
    last_at: Utc | None = Field(description="wall-clock time of the picture that decided it (UTC), null when unknown")
    last_pts_seconds: Seconds = Field(description="PTS of that picture, on the clock of its segment")
    end_reason: str | None = Field(
        description="cleared, adopted (the new picture is the usual one from now on) or closed (not watched any more); "
        "null until then; a camera that another worker takes over leaves it without an end"
    )
    measure: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        description="frozen: seconds without a new picture; corrupt: share of damaged frames or cells; covered, "
        "blinded, defocused: share of the usual structure that is lost; moved: share of regions unlike the usual ones"
    )
    threshold: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        description="the measure from which on it counts, if it lasts"
    )
    evidence: list[str] = Field(description="URIs of pictures: of the one that decided the begin; empty at the end")
    published_at: Utc | None = Field(description="when this event was sent to the topic (UTC)")
    generation: Generation | None = Field(
        None, description="of the camera when this event was decided; absent where workers do not share cameras"
    )
    late: Literal[True] | None = Field(
        None, description="true: sent when a worker of a higher generation already had the camera; else absent"
    )


class TamperEvent(CloudEvent):
    """A CloudEvents 1.0 document in structured JSON mode."""

    id: str = Field(description="tamper_id/sequence: the same event sent twice has the same id")
    type: Literal["mistwatch.tamper.begin", "mistwatch.tamper.end"]
    dataschema: Literal["urn:mistwatch:tamper:v1#/$defs/TamperData"]
    data: TamperData

    @model_validator(mode="after")
    def _agrees_with_its_data(self) -> TamperEvent:
        data = self.data
        expected = (f"{data.tamper_id}/{data.sequence}", data.camera, BEGIN_TYPE if data.state == "begin" else END_TYPE)
        if (self.id, self.subject, self.type) != expected:
            raise ValueError(f"id, subject and type must be {expected}, got {(self.id, self.subject, self.type)}")
        if {data.sequence == 1, data.state == "end", data.end_reason is not None} not in ({True}, {False}):
            raise ValueError("sequence 1 and end_reason belong to the state end, and only to it")
        return self

    def to_json(self) -> bytes:
        """See :meth:`CloudEvent.to_json`. Keys of a generation are left out where they have no value."""
        absent = {name for name in ("generation", "late") if getattr(self.data, name) is None}
        return self.model_dump_json(exclude={"data": absent}).encode()

    def marked_late(self) -> TamperEvent:
        """See :meth:`CloudEvent.marked_late`."""
        return self.model_copy(update={"data": self.data.model_copy(update={"late": True})})

    def published(self, at: datetime) -> TamperEvent:
        """See :meth:`CloudEvent.published`."""
        if self.data.replay:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"published_at": at.astimezone(UTC)})})


def tamper_id(transition: TamperTransition, *, site: str, run: str) -> UUID:
    """Return the tampering's id: the same for the same place, time and kind, wherever it is computed."""
    first = transition.first
    of_moment = alert_id(site, run, transition.camera, first.segment, first.pts_seconds)
    return uuid5(of_moment, f"tamper/{transition.kind}")


def tamper_event(
    transition: TamperTransition,
    *,
    site: str,
    run: str,
    replay: bool = False,
    evidence: Sequence[str] = (),
    generation: int | None = None,
) -> TamperEvent:
    """Return the event that reports ``transition``.

    Args:
        run: names the run over a recording; empty for a live camera.
        replay: a recording.
        evidence: URIs of pictures.
        generation: of the camera; None where workers do not share cameras.
    """
    first, last = transition.first, transition.last
    identity = tamper_id(transition, site=site, run=run)
    ended = transition.end_reason is not None
    data = TamperData(
        tamper_id=identity,
        sequence=1 if ended else 0,
        site=site,
        run=run,
        replay=replay,
        camera=transition.camera,
        kind=transition.kind,
        state="end" if ended else "begin",
        segment=first.segment,
        started_at=first.taken_at,
        started_pts_seconds=rounded(first.pts_seconds),
        last_segment=last.segment,
        last_at=last.taken_at,
        last_pts_seconds=rounded(last.pts_seconds),
        end_reason=transition.end_reason,
        measure=rounded(max(0.0, transition.measure)),
        threshold=rounded(transition.threshold),
        evidence=list(evidence),
        published_at=None,
        generation=generation,
    )
    frame: dict[str, Any] = {"type": END_TYPE if ended else BEGIN_TYPE}
    return TamperEvent(
        specversion="1.0",
        id=f"{identity}/{data.sequence}",
        source=source_of(site),
        subject=transition.camera,
        time=last.taken_at if ended else first.taken_at,
        datacontenttype="application/json",
        dataschema=DATA_SCHEMA,
        data=data,
        **frame,
    )


def tamper_schema_text() -> str:
    """Return the JSON Schema of a tamper event, as it is committed in ``schema/tamper.v1.schema.json``."""
    return schema_text_of(TamperEvent, DATA_SCHEMA)
