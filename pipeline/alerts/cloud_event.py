"""The frame of every event that is sent: a CloudEvents 1.0 document in structured JSON mode.

Each kind of event derives its own, with its ``type``, its ``data`` and their schema.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from datetime import datetime
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr

from pipeline.clocks import in_utc

#: Scores come as float32 and PTS from clocks of 90 kHz at best: more decimals would be noise in every document.
DECIMALS = 6

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Generation = Annotated[int, Field(ge=0)]
Utc = Annotated[AwareDatetime, AfterValidator(in_utc)]


class Document(BaseModel):
    """A part of an event."""

    # Unknown fields are ignored, so that a reader of this version survives a later writer's additions.
    model_config = ConfigDict(frozen=True, extra="ignore")


class CloudEvent(Document):
    """A CloudEvents 1.0 document in structured JSON mode."""

    specversion: Literal["1.0"]
    id: str = Field(description="the same event sent twice has the same id")
    source: str = Field(description="the site, as a URI reference")
    type: str
    subject: Annotated[str, Field(min_length=1)] = Field(description="the camera's id")
    time: Utc | None = Field(description="wall-clock time in the scene of what is reported (UTC), null when unknown")
    datacontenttype: Literal["application/json"]
    dataschema: str
    # When the last clip's last frame was received, on the monotonic clock of this process: not a part of the document.
    _captured_monotonic: float | None = PrivateAttr(None)
    _decided_monotonic: float | None = PrivateAttr(None)  # likewise: when the operators decided on the event

    def __eq__(self, other: object) -> bool:
        """Events with the same document are equal."""
        return isinstance(other, CloudEvent) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def captured_monotonic(self) -> float | None:
        """Time at which the last clip's last frame was received: seconds of the monotonic clock of this process.

        None for a recording, and for an event that was read from elsewhere.
        """
        return self._captured_monotonic

    @property
    def decided_monotonic(self) -> float | None:
        """Time at which the operators decided on the event, on the same clock. None as for the capture."""
        return self._decided_monotonic

    def captured(self, monotonic: float | None, decided_monotonic: float | None = None) -> Self:
        """Return a copy that knows when its last frame was received, seconds of this process's monotonic clock.

        Args:
            decided_monotonic: when the operators decided on it.
        """
        copy = self.model_copy()
        copy._captured_monotonic = monotonic
        copy._decided_monotonic = decided_monotonic
        return copy

    def to_json(self) -> bytes:
        """Return the document: UTF-8, one line, keys in the order of the fields; equal events give equal bytes."""
        return self.model_dump_json().encode()

    def marked_late(self) -> Self:
        """Return a copy that says that a worker of a higher generation has the camera; events without one stay."""
        return self

    @abstractmethod
    def published(self, at: datetime) -> Self:
        """Return a copy that says when it was sent; a replay has no such time and stays as it is."""


def schema_text_of(event: type[CloudEvent], data_schema: str) -> str:
    """Return the JSON Schema (draft 2020-12) of a kind of event, as it is committed in ``schema/``.

    Args:
        data_schema: the ``dataschema`` of its documents.
    """
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": data_schema.partition("#")[0],
        **event.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def source_of(site: str) -> str:
    """Return the ``source`` of a site's events."""
    return "/mistwatch/" + quote(site, safe="")


def rounded(value: float) -> float:
    """Return a number as it is written in a document."""
    return round(float(value), DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
