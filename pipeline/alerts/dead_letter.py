"""The dead letter: an event that a sink will never take, with the reason, for the dead-letter topic."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pipeline.alerts.cloud_event import CloudEvent, Document, Utc, source_of
from pipeline.alerts.outbox import SetAside

DEAD_LETTER_TYPE: Final = "mistwatch.dead_letter"
#: Names the schema of ``data``.
DATA_SCHEMA: Final = "urn:mistwatch:dead-letter:v1#/$defs/DeadLetterData"


class DeadLetterData(Document):
    """An event that does not reach a sink."""

    sink: str = Field(description="the sink that does not get the event")
    event_id: str = Field(description="id of the event, as it is stored")
    reason: str = Field(description="why, one line")
    event: dict[str, Any] | None = Field(description="the event; null where it is not JSON, or too large")
    document_base64: str | None = Field(description="the event's bytes, where they are not JSON")
    document_bytes: Annotated[int, Field(ge=0)] = Field(description="size of the event's document")
    published_at: Utc | None = Field(description="when this letter was sent to the topic (UTC)")


class DeadLetter(CloudEvent):
    """A CloudEvents 1.0 document in structured JSON mode. Its id is that of the event with the sink's name."""

    type: Literal["mistwatch.dead_letter"]
    dataschema: Literal["urn:mistwatch:dead-letter:v1#/$defs/DeadLetterData"]
    data: DeadLetterData

    def published(self, at: datetime) -> DeadLetter:
        """See :meth:`CloudEvent.published`."""
        return self.model_copy(update={"data": self.data.model_copy(update={"published_at": at.astimezone(UTC)})})


def dead_letter(site: str, event: SetAside, *, complete: bool = True) -> DeadLetter:
    """Return the letter about an event.

    Args:
        complete: with the event's document.
    """
    document = _json_object(event.document)
    subject = (document or {}).get("subject")
    data = DeadLetterData(
        sink=event.sink,
        event_id=event.id,
        reason=event.reason,
        event=document if complete else None,
        document_base64=base64.b64encode(event.document).decode() if complete and document is None else None,
        document_bytes=len(event.document),
        published_at=None,
    )
    return DeadLetter(
        specversion="1.0",
        id=f"{event.id}/{event.sink}",
        source=source_of(site),
        type=DEAD_LETTER_TYPE,
        subject=subject if isinstance(subject, str) and subject else "unknown",
        time=None,
        datacontenttype="application/json",
        dataschema=DATA_SCHEMA,
        data=data,
    )


def _json_object(document: bytes) -> dict[str, Any] | None:
    """Return the object that a document holds; None: it is not one, or not one that can be written again."""
    try:
        found = json.loads(document)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
