"""The time of arrival, which takes over where a camera's time stamps cannot be used.

A camera whose stamps stand still, step back again and again, or are missing delivers good pictures at the right pace.
They would all be left out, and the camera would look connected and never be scored.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from pipeline.sources.timeline import FORWARD_LIMIT_SECONDS, Verdict

#: Stamps are judged over windows of this length, and of so many pictures at least, for of a few pictures a single stray
#: is a large share: trouble is noticed within two of them. Seconds of arrival.
_WINDOW_SECONDS = 3.0
_WINDOW_PICTURES = 4

#: They cannot be used if this share of a window's pictures is left out, and ...
_LEFT_OUT_SHARE = 1 / 3
#: ... they advance by less than this share of the window. (Pictures that come out of order are left out too, and slices
#: that FFmpeg takes for pictures, but the time goes on at its pace.)
_ADVANCE_SHARE = 3 / 4

#: Slices of one picture repeat its stamp, and come together. Seconds of arrival after which a repeated stamp stands.
_STANDS_SECONDS = 1.0

#: Nor can they be used if the clock jumps so often within this time, and the arrival does not. Seconds.
_MOST_JUMPS = 3
_JUMPS_SECONDS = 15.0


class StampFault(StrEnum):
    """The faults of a live stream's time stamps (the reason that metrics show)."""

    MISSING = "missing"  #: a picture without a stamp is left out
    REPEATED = "repeated"  #: a picture whose stamp does not advance is left out
    STRAY = "stray"  #: a picture whose stamp is of no clock of the stream is left out
    CLOCK_WRONG = "clock_wrong"  #: the camera's wall clock is not used: it does not agree with the arrival
    CLOCK_JUMP = "clock_jump"  #: the camera's wall clock was set
    CLOCK_DRIFT = "clock_drift"  #: the camera's wall clock has moved away from this machine's
    STAMPS_DRIFT = "stamps_drift"  #: the clock of the time stamps has moved away from the arrival
    UNUSABLE = "unusable"  #: the stamps of the connection are given up, and the time of arrival takes over


#: Faults of the clocks, by which no picture is left out.
CLOCK_FAULTS = frozenset(
    {StampFault.CLOCK_WRONG, StampFault.CLOCK_JUMP, StampFault.CLOCK_DRIFT, StampFault.STAMPS_DRIFT}
)


@dataclass(frozen=True, slots=True)
class StampReport:
    """One fault; ``message`` is one line for an operator, without credentials."""

    camera: str
    fault: StampFault
    message: str


class StampWatch:
    """Watches the time stamps of one connection and finds out when they cannot be used."""

    def __init__(self) -> None:
        self._since: float | None = None  # arrival of the window's first picture
        self._pictures = 0
        self._left_out = 0  # of the window's pictures
        self._advance = 0.0  # of the stamps in the window, seconds
        self._last: tuple[float, float] | None = None  # PTS and arrival of the latest picture that counted
        self._jumps: deque[float] = deque(maxlen=_MOST_JUMPS)

    def problem(self, verdict: Verdict, pts_seconds: float | None, arrived_at: float) -> str | None:
        """Take note of the verdict on a picture; returns why the stamps cannot be used, None while they can.

        Args:
            arrived_at: seconds of a clock that does not jump.
        """
        if self._since is None:
            self._since = arrived_at
        self._pictures += 1
        if pts_seconds is None or verdict in (Verdict.DROP, Verdict.STRAY):
            self._left_out += self._is_fault(verdict, pts_seconds, arrived_at)
        else:
            self._went_on(pts_seconds, arrived_at)
        if len(self._jumps) == _MOST_JUMPS and arrived_at - self._jumps[0] <= _JUMPS_SECONDS:
            return f"the clock jumped {_MOST_JUMPS} times in {arrived_at - self._jumps[0]:.0f} s"
        span = arrived_at - self._since
        if span < _WINDOW_SECONDS or self._pictures < _WINDOW_PICTURES:
            return None
        left_out, pictures, advance = self._left_out, self._pictures, self._advance
        self._since, self._left_out, self._pictures, self._advance = arrived_at, 0, 0, 0.0
        if left_out < _LEFT_OUT_SHARE * pictures or advance >= _ADVANCE_SHARE * span:
            return None
        return f"in {span:.1f} s they advanced by {advance:.1f} s, and {left_out} of {pictures} pictures were left out"

    def _is_fault(self, verdict: Verdict, pts_seconds: float | None, arrived_at: float) -> bool:
        """Return whether a picture was left out for more than being the slice of another one."""
        if pts_seconds is None or verdict is Verdict.STRAY or self._last is None:
            return True
        pts_before, arrived_before = self._last
        return pts_seconds < pts_before or arrived_at - arrived_before > _STANDS_SECONDS

    def _went_on(self, pts_seconds: float, arrived_at: float) -> None:
        if self._last is None:
            # The first pictures of an RTSP connection have no stamps yet.
            self._since, self._pictures, self._left_out = arrived_at, 1, 0
        else:
            since, waited = pts_seconds - self._last[0], arrived_at - self._last[1]
            if 0 < since <= max(FORWARD_LIMIT_SECONDS, 2 * waited):
                self._advance += since
            else:
                self._jumps.append(arrived_at)
        self._last = (pts_seconds, arrived_at)
