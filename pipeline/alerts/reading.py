"""Reads a document back as the event that it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent

#: An event of this version of mistwatch.
Event = AlertEvent | DriftEvent

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def read_event(document: str | bytes) -> Event:
    """Return the event that a JSON document holds.

    Raises:
        pydantic.ValidationError: not an event, or one of a type that this version does not know.
    """
    return _EVENTS.validate_json(document)
