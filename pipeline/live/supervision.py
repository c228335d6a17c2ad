"""A camera's state: a table of transitions, and the clock that notices a stall.

====================  ==========================================================================================
connecting            it is being opened; the reason is that of the outage before, if there was one
streaming             frames come
stalled               it gives no frame for longer than its limit; its own time limits are still to fire
backing_off           an outage; it is tried again after a wait
failed                given up for good: no retry can mend it
stopped               a recording at its end, or a camera that was stopped
====================  ==========================================================================================
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from pipeline.sources.base import SourceError
from pipeline.sources.reconnect import Outage


class State(StrEnum):
    """The state of a camera."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    STALLED = "stalled"
    BACKING_OFF = "backing_off"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def words(self) -> str:
        """The state for people."""
        return self.replace("_", " ")


#: The states that only opening the camera anew ends.
ENDED = frozenset({State.FAILED, State.STOPPED})


class Happening(StrEnum):
    """The things that happen to a camera."""

    ATTEMPT = "attempt"  #: it is being opened
    FRAME = "frame"
    SILENCE = "silence"  #: no frame for longer than the limit
    OUTAGE = "outage"
    FAILURE = "failure"
    END = "end"


_EVERY_OPEN_STATE = {
    Happening.FRAME: State.STREAMING,
    Happening.OUTAGE: State.BACKING_OFF,
    Happening.FAILURE: State.FAILED,
    Happening.END: State.STOPPED,
}

#: The next state; a happening that is not listed changes nothing.
TRANSITIONS: Mapping[State, Mapping[Happening, State]] = {
    State.CONNECTING: _EVERY_OPEN_STATE | {Happening.SILENCE: State.STALLED},
    State.STREAMING: _EVERY_OPEN_STATE | {Happening.SILENCE: State.STALLED, Happening.ATTEMPT: State.CONNECTING},
    State.STALLED: _EVERY_OPEN_STATE | {Happening.ATTEMPT: State.CONNECTING},
    State.BACKING_OFF: _EVERY_OPEN_STATE | {Happening.ATTEMPT: State.CONNECTING},
    State.FAILED: {Happening.ATTEMPT: State.CONNECTING},
    State.STOPPED: {Happening.ATTEMPT: State.CONNECTING},
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A camera's state and its reason.

    Attributes:
        since: when the state began (UTC).
        reason: short code: one of :class:`pipeline.sources.base.SourceError`, ``stall``, ``end`` or ``shutdown``; empty
            while there is nothing to report.
        message: the reason in one line, without credentials.
    """

    state: State
    since: datetime
    reason: str = ""
    message: str = ""


def follow(condition: Condition, happening: Happening, at: datetime, reason: str = "", message: str = "") -> Condition:
    """Return the condition after something has happened; the same object where nothing changes.

    An attempt keeps the reason of the outage before it; a frame ends it.
    """
    following = TRANSITIONS[condition.state].get(happening)
    if following is None:
        return condition
    if happening is Happening.ATTEMPT and condition.state not in ENDED:
        reason, message = condition.reason, condition.message
    if following is condition.state:
        same = (reason, message) == (condition.reason, condition.message)
        return condition if same else replace(condition, reason=reason, message=message)
    return Condition(following, at, reason, message)


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    """Seconds without a frame after which a camera is stalled.

    Attributes:
        connecting: while it is being opened, which is longer than the source's own limits take.
    """

    streaming: float = 5.0
    connecting: float = 60.0

    def __post_init__(self) -> None:
        if not (self.streaming > 0 and self.connecting > 0):
            raise ValueError(f"limits must be above 0 s, got {self.streaming} and {self.connecting}")


class Supervision:
    """The state of one camera as its thread goes on, with the time that it spends without frames.

    :meth:`look` is called a few times a second from another thread. The time that the worker itself takes over a frame
    does not count: a worker that waits for its disk is not a camera's stall.

    Args:
        limits: None: never stalled (a recording).
        on_change: called with each new condition, in order, on the thread that caused it; it must be quick.
        monotonic, now: the clocks.
    """

    def __init__(
        self,
        camera: str,
        limits: SilenceLimits | None,
        on_change: Callable[[Condition], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._camera = camera
        self._limits = limits
        self._on_change = on_change
        self._monotonic = monotonic
        self._now = now
        self._changing = threading.RLock()
        self._condition = Condition(State.CONNECTING, now())
        self._quiet_since: float | None = None  # on the monotonic clock: when the camera's thread began to wait for it

    @property
    def condition(self) -> Condition:
        """The present state."""
        return self._condition

    def attempt(self) -> None:
        """It is being opened."""
        self._quiet_since = self._monotonic()
        self._happened(Happening.ATTEMPT)

    def frame(self) -> None:
        """A frame has come, and the worker is busy with it until :meth:`await_frame`."""
        self._quiet_since = None
        if self._condition.state is not State.STREAMING:
            self._happened(Happening.FRAME)

    def await_frame(self) -> None:
        """The camera's thread waits for the next frame."""
        self._quiet_since = self._monotonic()

    def outage(self, outage: Outage) -> None:
        """It was lost, or cannot be opened."""
        self._happened(Happening.OUTAGE, outage.code, outage.message)

    def fail(self, error: SourceError) -> None:
        """It is given up."""
        self._happened(Happening.FAILURE, error.code, str(error))

    def end(self, reason: str) -> None:
        """It has ended, by itself or by a stop; a failed camera stays failed."""
        self._happened(Happening.END, reason)

    def look(self) -> None:
        """Notice a stall."""
        with self._changing:
            limit = self._limit()
            quiet_since = self._quiet_since
            if limit is None or quiet_since is None or self._monotonic() - quiet_since < limit:
                return
            self._happened(Happening.SILENCE, "stall", f"camera {self._camera}: no frame for {limit:g} s")

    def _limit(self) -> float | None:
        """Return the limit in the present state, None where there is none."""
        if self._limits is None:
            return None
        match self._condition.state:
            case State.STREAMING:
                return self._limits.streaming
            case State.CONNECTING:
                return self._limits.connecting
            case _:
                return None

    def _happened(self, happening: Happening, reason: str = "", message: str = "") -> None:
        with self._changing:
            before = self._condition
            self._condition = follow(before, happening, self._now(), reason, message)
            if self._condition is not before:
                self._on_change(self._condition)
