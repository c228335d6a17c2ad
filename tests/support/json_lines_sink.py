"""A sink of the tests' own: one JSON document a line in a file. A module like this and a line in SINKS add a sink."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from pipeline.alerts.reading import Event
from pipeline.sinks.base import Delivery, KeepWaiting, SinkUnavailableError, Verdict


class JsonLinesSettings(BaseModel):
    """Settings of the sink.

    Attributes:
        path: the file; its folder must exist.
    """

    path: Path


class JsonLinesSink:
    """Appends each event to a file, on the disk when it is acknowledged."""

    def __init__(self, settings: JsonLinesSettings) -> None:
        self._path = settings.path

    @contextlib.contextmanager
    def connect(self) -> Iterator[None]:
        if not self._path.parent.is_dir():
            raise SinkUnavailableError(f"{self}: no such folder")
        yield

    def send(self, events: Sequence[Event], _keep_waiting: KeepWaiting) -> list[Delivery]:
        with self._path.open("ab") as file:
            file.writelines(event.to_json() + b"\n" for event in events)
        return [Delivery(Verdict.ACKNOWLEDGED) for _ in events]

    def __str__(self) -> str:
        return f"file {self._path}"
