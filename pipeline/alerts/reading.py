"""Reads a document back as the event that it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.tamper import TamperEvent
from pipeline.printable import printable

#: An event of this version of mistwatch.
Event = AlertEvent | DriftEvent | TamperEvent | JudgementEvent

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def read_event(document: str | bytes) -> Event:
    """Return the event that a JSON document holds.

    Raises:
        pydantic.ValidationError: not an event, or one of a type that this version does not know.
    """
    return _EVENTS.validate_json(document)


def explain_unreadable(error: ValidationError) -> str:
    """Return why a document is not an event of this version, in a few words without the document's content."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return f"unknown type {first['ctx']['tag']!r}"
    if first["type"] == "union_tag_not_found":
        return "without a type"
    return printable(": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"]))))
