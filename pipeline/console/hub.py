"""Updates for browsers: a ring of numbered events that any number of streams read at their own pace."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

#: Events that are kept for streams that fall behind or connect again: some minutes.
MOST_EVENTS = 2_000


@dataclass(frozen=True, slots=True)
class Update:
    """One event: its number, its kind, and its data as JSON in one line."""

    number: int
    kind: str
    data: str


class Hub:
    """The newest updates. Thread-safe; memory does not depend on the number of streams or on how slow they are."""

    def __init__(self, most: int = MOST_EVENTS) -> None:
        #: Names this run of the console: an id of another run cannot be resumed from.
        self.run = secrets.token_hex(4)
        self._updates: deque[Update] = deque(maxlen=most)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._newest = 0

    @property
    def newest(self) -> int:
        """The number of the newest update; 0 before the first."""
        return self._newest

    def publish(self, kind: str, data: Any) -> None:
        """Add an update, and forget the oldest where there are too many."""
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        with self._lock:
            self._newest = next(self._numbers)
            self._updates.append(Update(self._newest, kind, text))

    def after(self, number: int) -> list[Update] | None:
        """Return the updates after a number; None where some of them are forgotten."""
        if number == self._newest:
            return []
        with self._lock:
            if number > self._newest or (self._updates and number < self._updates[0].number - 1):
                return None
            behind = self._newest - number
            return list(itertools.islice(self._updates, len(self._updates) - behind, None))

    def position_of(self, event_id: str) -> int | None:
        """Return the number in an event id of this run, ``RUN-NUMBER``; None: it is another one's."""
        run, _, number = event_id.partition("-")
        return int(number) if run == self.run and number.isdecimal() and len(number) < 18 else None

    def id_of(self, number: int) -> str:
        """Return the event id of a number."""
        return f"{self.run}-{number}"
