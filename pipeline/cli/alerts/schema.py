"""``mistwatch alerts schema``: print the schemas of events."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipeline.cli.output import ascii_json


class EventKind(StrEnum):
    """A kind of event, or the state of a camera."""

    ALERT = "alert"
    CAMERA = "camera"
    DRIFT = "drift"
    TAMPER = "tamper"
    JUDGEMENT = "judgement"


def schema(
    kind: Annotated[EventKind, typer.Option("--kind", help="Kind of event.")] = EventKind.ALERT,
) -> None:
    """Print the JSON Schema of an event, or of a camera's state."""
    from pipeline.alerts.camera_report import camera_schema_text
    from pipeline.alerts.drift import drift_schema_text
    from pipeline.alerts.event import schema_text
    from pipeline.alerts.judgement import judgement_schema_text
    from pipeline.alerts.tamper import tamper_schema_text

    texts = {
        EventKind.ALERT: schema_text,
        EventKind.CAMERA: camera_schema_text,
        EventKind.DRIFT: drift_schema_text,
        EventKind.TAMPER: tamper_schema_text,
        EventKind.JUDGEMENT: judgement_schema_text,
    }
    typer.echo(ascii_json(texts[kind]()), nl=False)
