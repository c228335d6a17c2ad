"""Outcomes of submitted clips, and the listener that scoring reports to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from operators.scores import ClipTimes, GatedClip
from pipeline import logs
from pipeline.scoring.served_model import ServedModel
from pipeline.scoring.target import Target
from pipeline.windows import ClipWindow

_log = logs.get("scoring")


class DropReason(StrEnum):
    """Why a clip has no score (the reason that metrics show)."""

    OVERLOAD = "overload"  #: a live camera's queue was full while the scorer was at work
    UNAVAILABLE = "unavailable"  #: a live camera's queue was full while the scorer was away
    DEADLINE = "deadline"  #: sent for a live camera and not answered in time
    ERROR = "error"  #: the server refuses this clip, or its answer cannot be used
    SHUTDOWN = "shutdown"  #: the camera or the scorer was closed first


@dataclass(frozen=True, slots=True)
class Scored:
    """A window and its score.

    Attributes:
        served: the model that gave the score; Triton names its version in the answer.
        scored_at: when this process received the score (UTC).
        scored_monotonic: the same on the monotonic clock, seconds.
        heat: float32 (h, w), where in the clip's picture the score comes from; ``served.heat`` says how to read it.
            None unless the scorer asks for it and the model has it.
        features: float32 (D,), the model's description of the clip. None unless the scorer asks for it.
        sent_monotonic: when the clip was sent, the last time if more than once, seconds of the monotonic clock.
    """

    window: ClipWindow
    score: float
    served: ServedModel
    scored_at: datetime
    heat: npt.NDArray[np.float32] | None = None
    features: npt.NDArray[np.float32] | None = None
    scored_monotonic: float = field(default_factory=time.monotonic)
    sent_monotonic: float | None = None

    @property
    def delay_seconds(self) -> float:
        """Seconds from the arrival of the clip's last frame to its score, whatever the wall clock did meanwhile."""
        return self.scored_monotonic - self.window.captured_monotonic

    @property
    def model(self) -> str:
        """The served model's own name."""
        return self.served.name

    @property
    def model_version(self) -> str:
        """The version that Triton serves."""
        return self.served.version


@dataclass(frozen=True, slots=True)
class Dropped:
    """A window that will not be scored; ``detail`` is one line for an operator, or empty."""

    window: ClipWindow
    reason: DropReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Gated:
    """A clip that the motion gate kept back (:mod:`operators.gate`): its place in time, without its pixels."""

    clip: GatedClip

    @classmethod
    def from_window(cls, window: ClipWindow) -> Gated:
        """Return the outcome of a window that is not sent."""
        times = ClipTimes(
            started_at=window.started_at,
            ended_at=window.ended_at,
            captured_at=window.captured_at,
            captured_monotonic=window.captured_monotonic,
            time_source=window.time_source,
            time_error_seconds=window.time_error_seconds,
        )
        place = (window.segment.camera, window.segment.id, window.index, window.start, window.end)
        return cls(GatedClip(*place, times))


class ScoringListener:
    """The scorer's calls, all empty; a listener overrides the ones that it needs.

    It must be quick and must not call the scorer. An exception that it raises is logged.
    """

    def in_flight(self, clips: int) -> None:
        """Report the number of clips that are sent and not answered now."""

    def waiting(self, reason: str) -> None:
        """Report that clips wait for the server or one of its models: one line, once an outage and kind of trouble."""

    def recovered(self) -> None:
        """Report that the last outage is over: nothing that was reported as waiting is away any more."""

    def part_waiting(self, part: Target, reason: str) -> None:
        """Report that the clips of a camera wait for its part, as :meth:`waiting`; other cameras are not affected."""

    def part_there(self, part: Target) -> None:
        """Report that a part that was waited for scores."""

    def reconnected(self, line: str) -> None:
        """Report that a connection had died without a sign and was replaced; on a thread of its own."""

    def exchanged(self, served: ServedModel) -> None:
        """Report that another model, or another version of it, scores from here on."""


class OutageLog(ScoringListener):
    """Logs outages under the name of ``component``, and knows for how long the present one lasts.

    Attributes:
        reconnects: number of connections that had died without a sign and were replaced.
    """

    def __init__(self, component: str) -> None:
        self.reconnects = 0
        self._log = logs.get(component)
        self._waiting_since: float | None = None
        self._missing_since: dict[Target, float] = {}

    @property
    def away_seconds(self) -> float:
        """Seconds since the scorer went away; 0 when it is there."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def missing_seconds(self, part: Target) -> float:
        """Return the seconds since the clips of a camera wait for its part; 0 when they do not."""
        since = self._missing_since.get(part)
        return 0.0 if since is None else time.monotonic() - since

    def part_waiting(self, part: Target, reason: str) -> None:
        self._missing_since.setdefault(part, time.monotonic())
        self._log.warning("waiting for the camera's part; the other cameras continue", camera=part.part, reason=reason)

    def part_there(self, part: Target) -> None:
        self._missing_since.pop(part, None)
        self._log.info("the camera's part is there", camera=part.part)

    def waiting(self, reason: str) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._log.warning("waiting for the scorer", reason=reason)

    def recovered(self) -> None:
        self._waiting_since = None
        self._log.info("the scorer is there")

    def reconnected(self, line: str) -> None:
        self.reconnects += 1
        self._log.warning("connection replaced", reason=line)


def notify(event: Callable[..., None], *args: object) -> None:
    """Call a consumer or a listener; log what it raises, so that it cannot harm anything else."""
    try:
        event(*args)
    except Exception:
        _log.exception("a consumer of scores failed", call=getattr(event, "__qualname__", repr(event)))
