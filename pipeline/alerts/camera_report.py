"""The state of a camera as it stands on the topic ``mistwatch.cameras``: one JSON document, key: the camera."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from pipeline.alerts.cloud_event import Document, Utc

#: Names the schema of the document, ``schema/camera.v1.schema.json``.
DATA_SCHEMA: Final = "urn:mistwatch:camera:v1"

#: A report is stale when it is older than this many heartbeats.
STALE_HEARTBEATS = 3

Count = Annotated[int, Field(ge=0)]


class ClipCounts(Document):
    """A camera's clips by outcome, over all detectors, since the worker opened the camera."""

    scored: Count
    gated: Count
    dropped: dict[str, Count] = Field(description="by reason")


#: From the topic of changes of a site's file; from the control topic of a group; from none.
TakesChanges = Literal["site", "group", "none"]


class ReportedChange(Document):
    """The newest change of a camera that its worker knows."""

    by: str = Field(description="who asked for it")
    at: Utc = Field(description="when, by the clock of the machine that sent it")
    problem: str | None = Field(description="why it is not in force, in one line; null: it is in force")


class CameraReport(Document):
    """One camera as its worker sees it."""

    dataschema: str = DATA_SCHEMA
    site: str
    camera: str = Field(min_length=1)
    worker: str = Field(min_length=1, description="the worker that watches it; by default its host and process id")
    generation: Count | None = Field(description="of the worker's claim to the camera; null outside a group")
    live: bool
    state: str = Field(description="connecting, streaming, stalled, backing_off, failed or stopped")
    reason: str | None = Field(description="short code of the reason; null where there is nothing to report")
    message: str | None = Field(description="the reason in one line, without credentials")
    since: Utc = Field(description="when the state began, by the worker's clock")
    reported_at: Utc = Field(description="when this was written, by the worker's clock")
    heartbeat_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="the next report comes within this time"
    )
    frames: Count
    last_frame_at: Utc | None = Field(description="when the latest frame was received")
    clips: ClipCounts
    open_alerts: list[UUID] = Field(description="ids of the open alerts")
    models: dict[str, str] = Field(description="model and its version (NAME/VERSION) by detector; an unnamed one is ''")
    settings: dict[str, Any] | None = Field(
        None,
        description="the camera's own alerts, detector_alerts, zones and schedule that are in force, as in a site's "
        "file, without defaults; null: written by an earlier version",
    )
    takes_changes: TakesChanges | None = Field(
        None,
        description="whether the worker follows the topic of changes of a site, or the control topic of a group; null: "
        "written by an earlier version",
    )
    last_change: ReportedChange | None = Field(None, description="null: the camera is as its file has it, or unknown")

    def to_json(self) -> bytes:
        """Return the document: UTF-8, one line."""
        return self.model_dump_json().encode()

    def is_stale(self, published_at: datetime, now: datetime) -> bool:
        """Return whether the next report is overdue: the worker is gone, or cannot reach the broker.

        Args:
            published_at: when the broker had the report.
        """
        return now - published_at > timedelta(seconds=STALE_HEARTBEATS * self.heartbeat_seconds)


def camera_schema_text() -> str:
    """Return the JSON Schema of the document, as it is committed in ``schema/camera.v1.schema.json``."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": DATA_SCHEMA,
        **CameraReport.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
