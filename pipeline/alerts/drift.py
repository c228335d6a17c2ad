"""The drift event: a camera no longer looks as its detector has learned it, or does again.

One drift is one ``drift_id``, with two events: 0 (``begin``) and 1 (``end``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

from pydantic import Field, model_validator

from operators.drift import LEARNED_SHARE, LEVEL, DriftTransition
from pipeline.alerts.cloud_event import (
    CloudEvent,
    Document,
    Generation,
    Seconds,
    Share,
    Utc,
    rounded,
    schema_text_of,
    source_of,
)
from pipeline.alerts.event import alert_id

DRIFT_TYPE: Final = "mistwatch.drift"
#: Names the schema of ``data``: the definition DriftData in schema/drift.v1.schema.json.
DATA_SCHEMA: Final = "urn:mistwatch:drift:v1#/$defs/DriftData"


class DriftData(Document):
    """One drift as it is known at its begin or at its end."""

    drift_id: UUID = Field(
        description="one per drift; UUIDv5 of site, run, camera, detector (where the site has several), segment and "
        "start PTS"
    )
    sequence: Literal[0, 1] = Field(description="0 for the begin, 1 for the end")
    site: str
    run: str = Field(description="names the run over recordings; empty for live cameras")
    replay: bool = Field(description="true for a recording: its events have no times of handling")
    camera: Annotated[str, Field(min_length=1)]
    detector: str | None = Field(description="the site's detector, null where the site names no detectors")
    state: Literal["begin", "end"]
    segment: str = Field(description="the unbroken stretch of the stream in which the drift began")
    started_at: Utc | None = Field(description="wall-clock time of the drift's first frame (UTC), null when unknown")
    started_pts_seconds: Seconds = Field(description="PTS of that frame, on the clock of its segment")
    last_segment: str = Field(description="the stretch of the stream in which this event was decided")
    last_at: Utc | None = Field(description="wall-clock time of the last frame so far (UTC), null when unknown")
    last_pts_seconds: Seconds = Field(description="PTS of the end of the last clip so far, on the clock of its segment")
    end_reason: str | None = Field(description="as_learned_again, model_changed or closed; null until then")
    clips: Annotated[int, Field(ge=1)] = Field(description="clips of the drift so far, gated ones included")
    share: Share = Field(description="the share of them with a score above level")
    level: Share = Field(description="the score that is compared with")
    learned_share: Share = Field(description="the share of clips above level in footage like the learned one, at most")
    model: str
    model_version: str
    published_at: Utc | None = Field(description="when this event was sent to the topic (UTC)")
    generation: Generation | None = Field(
        None, description="of the camera when the drift began or ended; absent where workers do not share cameras"
    )
    late: Literal[True] | None = Field(
        None, description="true: sent when a worker of a higher generation already had the camera; else absent"
    )


class DriftEvent(CloudEvent):
    """A CloudEvents 1.0 document in structured JSON mode."""

    id: str = Field(description="drift_id/sequence: the same event sent twice has the same id")
    type: Literal["mistwatch.drift"]
    dataschema: Literal["urn:mistwatch:drift:v1#/$defs/DriftData"]
    data: DriftData

    @model_validator(mode="after")
    def _agrees_with_its_data(self) -> DriftEvent:
        data = self.data
        expected = (f"{data.drift_id}/{data.sequence}", data.camera)
        if (self.id, self.subject) != expected:
            raise ValueError(f"id and subject must be {expected}, got {(self.id, self.subject)}")
        if {data.sequence == 1, data.state == "end", data.end_reason is not None} not in ({True}, {False}):
            raise ValueError("sequence 1 and end_reason belong to the state end, and only to it")
        return self

    def to_json(self) -> bytes:
        """See :meth:`CloudEvent.to_json`. Keys of a generation are left out where they have no value."""
        absent = {name for name in ("generation", "late") if getattr(self.data, name) is None}
        return self.model_dump_json(exclude={"data": absent}).encode()

    def marked_late(self) -> DriftEvent:
        """See :meth:`CloudEvent.marked_late`."""
        return self.model_copy(update={"data": self.data.model_copy(update={"late": True})})

    def published(self, at: datetime) -> DriftEvent:
        """See :meth:`CloudEvent.published`."""
        if self.data.replay:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"published_at": at.astimezone(UTC)})})


def drift_event(
    transition: DriftTransition,
    *,
    site: str,
    run: str,
    replay: bool = False,
    detector: str | None = None,
    several_detectors: bool = False,
    generation: int | None = None,
) -> DriftEvent:
    """Return the event that reports ``transition``; the arguments are those of an alert's event.

    Args:
        several_detectors: the site names several: the drift's id includes the detector.
    """
    first, last = transition.first, transition.last
    in_id = detector if several_detectors else None
    drift_id = uuid5(alert_id(site, run, transition.camera, first.segment, first.start, detector=in_id), "drift")
    ended = transition.end_reason is not None
    data = DriftData(
        drift_id=drift_id,
        sequence=1 if ended else 0,
        site=site,
        run=run,
        replay=replay,
        camera=transition.camera,
        detector=detector,
        state="end" if ended else "begin",
        segment=first.segment,
        started_at=first.times.started_at,
        started_pts_seconds=rounded(first.start),
        last_segment=last.segment,
        last_at=last.times.ended_at,
        last_pts_seconds=rounded(last.end),
        end_reason=transition.end_reason,
        clips=transition.clips,
        share=rounded(transition.share),
        level=LEVEL,
        learned_share=LEARNED_SHARE,
        model=first.model,
        model_version=first.model_version,
        published_at=None,
        generation=generation,
    )
    return DriftEvent(
        specversion="1.0",
        id=f"{drift_id}/{data.sequence}",
        source=source_of(site),
        type=DRIFT_TYPE,
        subject=transition.camera,
        time=last.times.ended_at if ended else first.times.started_at,
        datacontenttype="application/json",
        dataschema=DATA_SCHEMA,
        data=data,
    )


def drift_schema_text() -> str:
    """Return the JSON Schema of a drift event, as it is committed in ``schema/drift.v1.schema.json``."""
    return schema_text_of(DriftEvent, DATA_SCHEMA)
