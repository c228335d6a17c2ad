"""Lengths of the recordings of a replay, for the time left. Their headers are read during the replay, not before."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pipeline.runs.recordings import Wanted
from pipeline.sources.base import SourceError


class Lengths:
    """Seconds of every recording, as its header states them; 0 where it does not, or cannot be read."""

    def __init__(self, recordings: Sequence[Wanted]) -> None:
        self._recordings = recordings
        self._seconds: dict[str, float] = {}
        self._done: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="lengths", daemon=True)

    def start(self) -> None:
        """Begin to read the headers."""
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def done(self, name: str) -> None:
        """Take note that this recording has finished."""
        self._done.add(name)

    def of(self, name: str) -> float:
        """Seconds of a recording; 0 where that is not known (yet)."""
        return self._seconds.get(name, 0.0)

    @property
    def done_seconds(self) -> float:
        """Seconds of all recordings that have finished."""
        return sum(self.of(name) for name in list(self._done))

    @property
    def total_seconds(self) -> float | None:
        """Seconds of all recordings; None until all headers are read."""
        return sum(self._seconds.values()) if len(self._seconds) == len(self._recordings) else None

    def _read_all(self) -> None:
        for one in self._recordings:
            if self._stop.is_set():
                return
            self._seconds[one.name] = _stated(one)


def _stated(one: Wanted) -> float:
    try:
        return one.open().stated_seconds() or 0.0
    except (SourceError, OSError):
        return 0.0
