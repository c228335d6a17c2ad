"""The record of recordings whose events were published, for a run that is continued or published later."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from pipeline.alerts.reading import read_event
from pipeline.live.worker import Acceptance
from pipeline.runs.folder import VideoRow

PUBLISHED_FILE = "published.jsonl"


class Published:
    """The file ``published.jsonl``: one line for each recording, written once the outbox has all its events.

    A process that is killed just before that publishes the recording's events again, with the same ids.

    Args:
        topic: the topic with its broker, ``BOOTSTRAP/TOPIC``.
        run: the run's name; another run over the folder has other events.
    """

    def __init__(self, folder: Path, topic: str, run: str) -> None:
        self._file = folder / PUBLISHED_FILE
        self._common = (topic, run)
        self._known: set[tuple[str, ...]] = set()
        if self._file.exists():
            for line in self._file.read_bytes().splitlines():
                with contextlib.suppress(ValueError):  # cut off by a kill: its events are published again
                    self._known.add(tuple(json.loads(line)))

    def has(self, row: VideoRow) -> bool:
        """Return whether the outbox has had all events of this recording."""
        return self._key(row) in self._known

    def add(self, row: VideoRow) -> None:
        """Record that the outbox has all events of this recording."""
        if not self.has(row):
            self._known.add(self._key(row))
            with self._file.open("a", encoding="utf-8") as file:
                file.write("\n" * self._is_cut_off() + json.dumps(self._key(row)) + "\n")

    def catch_up(self, row: VideoRow, events: bytes, outbox: Acceptance) -> None:
        """Publish the events of a recording that was scored earlier, unless they were published then.

        Raises:
            OutboxError: they cannot be accepted.
        """
        if self.has(row):
            return
        for line in events.splitlines():
            outbox.accept(read_event(line))
        self.add(row)

    def _is_cut_off(self) -> bool:
        """Return whether a process was killed while it wrote the last line."""
        return self._file.exists() and self._file.read_bytes()[-1:] not in (b"\n", b"")

    def _key(self, row: VideoRow) -> tuple[str, ...]:
        return (*self._common, row.name, row.content_hash or "")
