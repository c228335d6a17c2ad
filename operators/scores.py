"""Data that flows through the operators: clip scores with their order and holes.

Everything here is plain data. A camera's stream of scores is a sequence of segments; within a segment the clips
are numbered from 0. The operators see a segment as :class:`ClipScore` items, :class:`Hole` items where clips are
missing, and one :class:`SegmentEnd`. Clips that the motion gate kept back arrive as :class:`GatedClip` items, and go on
as scores that are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class ClipKey(NamedTuple):
    """Names one clip of one camera: the segment's id and the clip's ordinal within it, from 0."""

    segment: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which a key does not need


@dataclass(frozen=True, slots=True)
class ClipTimes:
    """Wall-clock times of a clip, all UTC and timezone-aware; None if a time does not exist.

    A recording without a known wall-clock origin has no ``started_at``/``ended_at``; a replay has neither
    ``captured_at`` nor ``scored_at``.
    """

    started_at: datetime | None = None  #: when the clip's first frame was taken
    ended_at: datetime | None = None  #: when the clip's last frame was taken
    captured_at: datetime | None = None  #: when the worker had the clip's last frame
    scored_at: datetime | None = None  #: when the worker had the clip's score
    captured_monotonic: float | None = None  #: ``captured_at`` on the worker's monotonic clock, seconds
    scored_monotonic: float | None = None  #: ``scored_at`` on that clock, seconds
    time_source: str | None = None  #: origin of ``started_at`` and ``ended_at``: ``rtcp``, ``arrival`` or ``file``
    time_error_seconds: float | None = None  #: their estimated error


NO_TIMES = ClipTimes()


@dataclass(frozen=True, slots=True)
class ClipScore:
    """The anomaly score of one clip.

    Attributes:
        index: the clip's ordinal in its segment, from 0.
        start: PTS of the clip's first frame, in seconds of the stream's own clock.
        end: PTS of the clip's last frame plus one frame period, in seconds.
        model: name of the served model.
        model_version: its version; scores of two versions are never averaged.
        times: wall-clock times, for people; operators do not compute with them.
        gated: the clip was not scored because nothing moved in it; ``score`` is that of an earlier clip
            (:class:`operators.holding.ScoreHold`).
    """

    camera: str
    segment: str
    index: int
    start: float
    end: float
    score: float
    model: str
    model_version: str
    times: ClipTimes = NO_TIMES
    gated: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:  # also refuses NaN
            raise ValueError(f"camera {self.camera}: score must lie in [0, 1], got {self.score}")
        if self.index < 0:
            raise ValueError(f"camera {self.camera}: clip index must be at least 0, got {self.index}")
        if not self.start < self.end:
            raise ValueError(f"camera {self.camera}: clip must end after it starts, got {self.start}..{self.end}")

    @property
    def key(self) -> ClipKey:
        return ClipKey(self.segment, self.index)


@dataclass(frozen=True, slots=True)
class GatedClip:
    """A clip that was not sent to be scored, because nothing moved in it (:mod:`operators.gate`).

    Attributes: as those of :class:`ClipScore`.
    """

    camera: str
    segment: str
    index: int
    start: float
    end: float
    times: ClipTimes = NO_TIMES

    @property
    def key(self) -> ClipKey:
        return ClipKey(self.segment, self.index)


@dataclass(frozen=True, slots=True)
class Hole:
    """``count`` consecutive clips of a segment, from ordinal ``index`` on, that have no score and never will."""

    camera: str
    segment: str
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The end of a segment; no item of it follows.

    Attributes:
        clips: number of clips that the segment had, scored or not.
        reason: reason of the end, as it appears in alerts: ``stream_end`` (a recording's end), ``disconnected``,
            ``clock_jump``, ``size_changed``, ``shutdown`` or ``error``.
    """

    camera: str
    segment: str
    clips: int
    reason: str


@dataclass(frozen=True, slots=True)
class SmoothedScore:
    """A clip's score and the moving average that ends with it (``value``, in [0, 1])."""

    clip: ClipScore
    value: float


ScoreItem = ClipScore | Hole | SegmentEnd


@dataclass(slots=True)
class HoleCount:
    """The number of clips of a segment in a row that have no score. Gated clips neither add to it nor end the row."""

    _next: int = 0  # the ordinal after the newest clip
    _missing: int = 0  # before it

    def before(self, index: int) -> int:
        """Return the number of clips without a score between the last real score and the ordinal ``index``."""
        return self._missing + index - self._next

    def take(self, clip: ClipScore) -> None:
        """Take the next clip in order, real or held."""
        self._missing = self.before(clip.index) if clip.gated else 0
        self._next = clip.index + 1


def is_other_model(last: ClipScore, clip: ClipScore) -> bool:
    """Return whether two clips were scored by different models or versions of one."""
    return (last.model, last.model_version) != (clip.model, clip.model_version)
