"""Wall-clock time of a live stream's pictures, with its estimated error: by the camera's clock, or by the arrival.

A camera that sends RTCP sender reports (RFC 3550, 6.4.1) states which wall-clock time a time stamp has. Its clock may
be wrong: never set, hours off, drifting. So it is used only while it agrees with the pictures' arrival to a bound.

Pictures arrive late by the time that encoder and network take, which jitters, and never early. So the least of
"arrival − PTS" over the last minute (the lower envelope) is the stream's own clock without the jitter; a constant delay
remains in it, which is not known.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.sources.arrival import StampFault
from pipeline.sources.base import TimeSource

#: The camera's clock is used while it puts pictures at most so long before their arrival, by the lower envelope, and so
#: long after it, seconds. Cameras encode and send within a second; the rest is the difference of two clocks.
MOST_BEFORE_SECONDS = 2.0
MOST_AFTER_SECONDS = 0.5

#: A camera's clock that was wrong is used again when it has agreed for so long, seconds of arrival.
_TRUST_SECONDS = 10.0

#: Delay of encoder and network that the arrival does not show: the error of times by arrival at the least. Seconds.
UNKNOWN_DELAY_SECONDS = 0.5

#: No clock here is read more exactly than this, the time of a picture's decoding. Seconds.
_LEAST_ERROR_SECONDS = 0.01

#: The envelope is the least of so many stretches of so many seconds of arrival: a clock that drifts by 100 ppm moves by
#: 6 ms meanwhile.
_STRETCH_SECONDS = 5.0
_STRETCHES = 12

#: A clock that moves by so much against the arrival from one picture to the next has jumped, over a longer time it has
#: drifted. Seconds.
STEP_SECONDS = 0.5

#: A connection begins with pictures that wait already, in the camera or in FFmpeg. Only after so many seconds does the
#: envelope show the delay of the stream, and clocks are judged by it.
SETTLING_SECONDS = 5.0

#: A wall-clock time that goes back by no more than this is held instead, so that times of a segment are in order; by
#: more, the clock of this machine was set. Seconds.
_HELD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WallTime:
    """Wall-clock time of a picture.

    Attributes:
        error_seconds: estimated error; None: not known.
    """

    at: datetime
    source: TimeSource
    error_seconds: float | None


#: Called with a fault of the clocks and what is wrong.
OnFault = Callable[[StampFault, str], None]


class _Envelope:
    """The least of ``arrival − PTS`` over the last minute, and by how much pictures lie above it."""

    def __init__(self) -> None:
        self._stretches: deque[tuple[float, float]] = deque(maxlen=_STRETCHES)  # when it began, and its least offset
        self._began: float | None = None
        self.is_settled = False
        self.jitter = 0.0  # average of what pictures lie above it, of some twenty

    def push(self, offset: float, arrived_at: float) -> float:
        """Take a picture's offset; return the envelope."""
        self._began = arrived_at if self._began is None else self._began
        self.is_settled = arrived_at - self._began >= SETTLING_SECONDS
        if not self._stretches or arrived_at - self._stretches[-1][0] >= _STRETCH_SECONDS:
            self._stretches.append((arrived_at, offset))
        began, least = self._stretches[-1]
        self._stretches[-1] = (began, min(least, offset))
        while arrived_at - self._stretches[0][0] > _STRETCHES * _STRETCH_SECONDS:
            self._stretches.popleft()
        envelope = min(least for _, least in self._stretches)
        self.jitter += (offset - envelope - self.jitter) / 20
        return envelope


class StreamTime:
    """Gives each picture of one connection its wall-clock time. No I/O; the clocks are passed in.

    Args:
        on_fault: called with every fault: ``clock_wrong`` once a connection, jumps and drifts each.
    """

    def __init__(self, on_fault: OnFault = lambda _fault, _what: None) -> None:
        self._on_fault = on_fault
        self._envelope = _Envelope()
        self._sender_offset: float | None = None  # the camera's wall clock − PTS, seconds
        self._is_trusted = True
        self._agrees_since: float | None = None  # on the monotonic clock, while it is not trusted
        self._said_wrong = False
        self._steady_lag: float | None = None  # of the camera's clock behind the arrival, when it was last compared
        self._steady_envelope: float | None = None  # the same of the PTS
        self._last_lag: float | None = None
        self._last: datetime | None = None

    def report(self, unix_seconds: float, pts_seconds: float) -> None:
        """Take what the camera says: the wall-clock time of a PTS."""
        offset = unix_seconds - pts_seconds
        self._sender_offset = offset if math.isfinite(offset) else None

    def restart(self) -> None:
        """Forget the relations of PTS to arrival and to the camera's clock: the stream's clock has jumped."""
        self._envelope = _Envelope()
        self._sender_offset = None
        self._steady_envelope = self._last_lag = None

    def time_of(self, pts_seconds: float, received_at: datetime, arrived_at: float) -> WallTime:
        """Return the time of a picture.

        Args:
            received_at: when it arrived, on the wall clock of this machine, which may be set at any time.
            arrived_at: the same on the monotonic clock, seconds.
        """
        envelope = self._envelope.push(arrived_at - pts_seconds, arrived_at)
        self._watch_drift_of_pts(envelope)
        late = max(0.0, arrived_at - pts_seconds - envelope)
        estimate = received_at - timedelta(seconds=min(late, 1e6))
        found = WallTime(estimate, TimeSource.ARRIVAL, UNKNOWN_DELAY_SECONDS + self._envelope.jitter)
        if self._sender_offset is not None:
            lag = estimate.timestamp() - (self._sender_offset + pts_seconds)  # above 0: taken before it arrived
            if self._trusts(lag, arrived_at):
                error = max(_LEAST_ERROR_SECONDS, abs(lag)) + (UNKNOWN_DELAY_SECONDS if lag < 0 else 0.0)
                found = WallTime(estimate - timedelta(seconds=lag), TimeSource.RTCP, error)
        return self._in_order(found)

    def _trusts(self, lag: float, arrived_at: float) -> bool:
        """Judge the camera's clock, which lags behind the arrival by so many seconds."""
        if self._envelope.is_settled:
            self._watch_steps(lag)
        if not -MOST_AFTER_SECONDS <= lag <= MOST_BEFORE_SECONDS:
            if not self._envelope.is_settled:
                return False
            self._is_trusted, self._agrees_since = False, None
            if not self._said_wrong:
                self._said_wrong = True
                self._on_fault(
                    StampFault.CLOCK_WRONG,
                    f"its clock is wrong by {describe(-lag)} against the arrival of its pictures (used within "
                    f"{MOST_BEFORE_SECONDS:g} s): times are those of the arrival; set the camera's clock (NTP)",
                )
            return False
        if not self._is_trusted:
            self._agrees_since = arrived_at if self._agrees_since is None else self._agrees_since
            self._is_trusted = arrived_at - self._agrees_since >= _TRUST_SECONDS
        return self._is_trusted

    def _watch_steps(self, lag: float) -> None:
        """Report jumps and drift of the camera's clock."""
        last, self._last_lag = self._last_lag, lag
        if last is None or self._steady_lag is None:
            self._steady_lag = lag
        elif abs(lag - last) >= STEP_SECONDS:
            self._steady_lag = lag
            self._on_fault(StampFault.CLOCK_JUMP, f"its clock has jumped by {describe(last - lag)}")
        elif abs(lag - self._steady_lag) >= STEP_SECONDS:
            drift, self._steady_lag = self._steady_lag - lag, lag
            self._on_fault(StampFault.CLOCK_DRIFT, f"its clock has drifted by {describe(drift)}")

    def _watch_drift_of_pts(self, envelope: float) -> None:
        """Report that the clock of the stream's time stamps runs faster or slower than that of this machine."""
        if not self._envelope.is_settled:
            return
        if self._steady_envelope is None:
            self._steady_envelope = envelope
        elif abs(envelope - self._steady_envelope) >= STEP_SECONDS:
            drift, self._steady_envelope = self._steady_envelope - envelope, envelope
            self._on_fault(
                StampFault.STAMPS_DRIFT, f"its time stamps have drifted by {describe(drift)} against their arrival"
            )

    def _in_order(self, found: WallTime) -> WallTime:
        """Hold a time that goes back a little, as it does when the source of times changes."""
        if self._last is not None and timedelta(0) < self._last - found.at <= timedelta(seconds=_HELD_SECONDS):
            back = (self._last - found.at).total_seconds()
            error = None if found.error_seconds is None else found.error_seconds + back
            return WallTime(self._last, found.source, error)
        self._last = found.at
        return found


def describe(seconds: float) -> str:
    """Return a signed time as people write it."""
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= length:
            return f"{seconds / length:+.1f} {unit}"
    return f"{seconds:+.2f} s"
