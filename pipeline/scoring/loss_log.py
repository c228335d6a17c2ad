"""The log of the clips that a server fails on: each cause once, and then counts, because thousands may fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline import logs

_log = logs.get("scoring")

#: Clips that are counted are logged in one line for each camera, at most this often, seconds.
COUNT_SECONDS = 60.0
#: Causes of a camera that are logged at once. A text that names a number is another one with every clip.
CAUSES = 5


@dataclass(slots=True)
class _Losses:
    """The lost clips of one lane.

    Attributes:
        causes: those that were logged.
        counted: number of clips since the last line.
        counted_since: time of the first of them, monotonic seconds.
        cause: of the last of them.
    """

    causes: set[str] = field(default_factory=set)
    counted: int = 0
    counted_since: float = 0.0
    cause: str = ""


class LossLog:
    """Logs lost clips, lane by lane. Any thread may call it.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: dict[str, _Losses] = {}

    def add(self, lane: str, clip: int, cause: str) -> None:
        """Log a lost clip if it is the first of its cause; otherwise count it.

        Args:
            lane: the camera, with its detector where it has several.
            clip: its number.
        """
        with self._lock:
            losses = self._lanes.setdefault(lane, _Losses())
            if cause not in losses.causes and len(losses.causes) < CAUSES:
                losses.causes.add(cause)
                _log.warning("clip dropped", camera=lane, clip=clip, why=cause)
                return
            now = self._clock()
            if not losses.counted:
                losses.counted_since = now
            losses.counted += 1
            losses.cause = cause
            if now - losses.counted_since >= COUNT_SECONDS:
                self._log_count(lane, losses)

    def end(self, lane: str) -> None:
        """Log the clips that were counted since the last line, and forget the lane."""
        with self._lock:
            if (losses := self._lanes.pop(lane, None)) is not None and losses.counted:
                self._log_count(lane, losses)

    def _log_count(self, lane: str, losses: _Losses) -> None:
        _log.warning("more clips dropped", camera=lane, clips=losses.counted, why=losses.cause)
        losses.counted = 0
