"""Clocks of streams that come otherwise than in time: in bursts, as fast as they are read, or without any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import av

#: A stream is read so much faster than its own clock says, so that one whose clock runs fast never falls behind.
_HASTE = 1.02

#: A stream that comes late is read faster until it has made up for so much of its delay; the rest it keeps, for a burst
#: would only be dropped. Seconds.
_MOST_TO_MAKE_UP = 0.5

#: A longer step of the stream's clock, or one back, is a jump, which is not waited for. Seconds.
_LONGEST_STEP = 5.0


class PacedClock:
    """The stream's own clock; it waits for the time of each picture, counted from the one before.

    A playlist (HLS) comes a segment at a time, and a film as fast as it is read. Pictures in such a burst would be
    more than the scorer takes.

    Args:
        stop: ends the waiting.
        now: the time, seconds; from any point, but steady.
        wait: waits for so many seconds.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._now = now
        self._wait = wait or stop.wait
        self._last: float | None = None  # the latest picture's time in the stream
        self._due = 0.0  # when that picture was due here

    def __call__(self, picture: av.VideoFrame) -> float | None:
        """Return the picture's time in the stream, seconds, as soon as it is due."""
        pts_seconds = picture.time
        if pts_seconds is not None:
            self._hold(pts_seconds)
        return pts_seconds

    def _hold(self, pts_seconds: float) -> None:
        now = self._now()
        step = pts_seconds - self._last if self._last is not None else None
        self._last = pts_seconds
        if step is None or not 0 <= step <= _LONGEST_STEP:
            self._due = now
        else:
            self._due = max(self._due + step / _HASTE, now - _MOST_TO_MAKE_UP)
        if self._due > now:
            self._wait(self._due - now)


class ArrivalClock:
    """The time since the connection's first picture, for streams that bear no times."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: float | None = None

    def __call__(self, _picture: av.VideoFrame) -> float:
        """Return the time at which this picture came, seconds."""
        now = self._now()
        if self._first is None:
            self._first = now
        return now - self._first
