"""Resampling: a grid of wanted times, anchored at the segment's first frame, filled by PTS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

#: PTS are multiples of 1/90000 s or coarser; a tenth of that settles ties that floating point would toss up.
_TIE_SECONDS = 1e-6


class Rule(Protocol):
    """Decides which frames of a segment are kept."""

    def keep(self, pts_seconds: float) -> bool:
        """Return whether the segment's next frame is kept; frames are offered in the order of their PTS."""
        ...


#: Makes the rule for one segment: so many frames a second, or every frame where it is None.
RuleFor = Callable[[float | None], Rule]


class Native:
    """Keeps every frame."""

    def keep(self, pts_seconds: float) -> bool:
        return True


class Grid:
    """Keeps one frame for each wanted time ``start + n / fps``; never one frame twice.

    A wanted time takes the first frame later than half a period before it, so an even stream that is fast enough
    gives exactly ``fps`` frames a second, each within half a period (or one of its own frame periods, where that is
    longer) of its time. A stream slower than the grid keeps all its frames and gains none.

    A frame that comes late does not move the grid: otherwise 25 frames a second would give 8.3 where 10 are wanted.
    After a hole the missed times are let go, so that no burst of frames makes up for them. And because times may lag
    by a period before they are let go, a stream of about the wanted rate does not lose frames to its jitter.
    """

    def __init__(self, fps: float) -> None:
        self._period = 1.0 / fps
        self._fps = fps
        self._start: float | None = None
        self._next = 0  # ordinal of the wanted time to be filled

    def keep(self, pts_seconds: float) -> bool:
        """Return whether the segment's next frame is kept; frames are offered in the order of their PTS."""
        if self._start is None:
            self._start = pts_seconds
        since = pts_seconds - self._start
        if since <= (self._next - 0.5) * self._period + _TIE_SECONDS and self._next:
            return False
        self._next += 1
        if since > (self._next + 1) * self._period + _TIE_SECONDS:
            self._next = math.floor(since * self._fps + 0.5) + 1
        return True


def resampler(fps: float | None) -> Native | Grid:
    """Return the rule for one segment: ``fps`` frames a second, or every frame where it is None."""
    return Native() if fps is None else Grid(fps)
