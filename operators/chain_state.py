"""The state of one camera's chain of operators, as plain data: another process continues from it.

Everything in it is a number, a text, a time or one of these dataclasses, so it can be written as JSON. Its size is
bounded: at most four clips, and one number for each clip of the moving average. No time of a monotonic clock is in it,
because such a clock belongs to one process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from operators.scores import ClipScore, ClipTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipState:
    """A clip that the state names. Attributes: as those of :class:`operators.scores.ClipScore`.

    Raises:
        ValueError: not a clip; see :class:`operators.scores.ClipScore`. A time without a time zone.
    """

    segment: str
    index: int
    start: float
    end: float
    score: float
    gated: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    captured_at: datetime | None = None

    def __post_init__(self) -> None:
        self.clip("", "", "")
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"clip must have finite times, got {self.start}..{self.end}")
        for at in (self.started_at, self.ended_at, self.captured_at):
            if at is not None and at.tzinfo is None:
                raise ValueError(f"time of a clip must have a time zone, got {at}")

    @classmethod
    def of(cls, clip: ClipScore) -> ClipState:
        """Return the state of a clip."""
        times = clip.times
        return cls(
            segment=clip.segment,
            index=clip.index,
            start=clip.start,
            end=clip.end,
            score=clip.score,
            gated=clip.gated,
            started_at=times.started_at,
            ended_at=times.ended_at,
            captured_at=times.captured_at,
        )

    def clip(self, camera: str, model: str, model_version: str) -> ClipScore:
        """Return the clip."""
        return ClipScore(
            camera=camera,
            segment=self.segment,
            index=self.index,
            start=self.start,
            end=self.end,
            score=self.score,
            model=model,
            model_version=model_version,
            times=ClipTimes(started_at=self.started_at, ended_at=self.ended_at, captured_at=self.captured_at),
            gated=self.gated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowState:
    """Clips in a row that reached the threshold: an open alert, or one that rises towards ``min_clips``.

    Attributes:
        first: the first clip, in its own segment: with it the alert's id is built.
        last: the newest clip of the row.
        peak: the clip of the highest smoothed score, which is ``peak_value``.
        start, until: of the row, seconds on the clock of the state's newest clip. The start differs from that of
            ``first`` once the alert has continued in another process.
        clips: clips of the row since it began to rise, or since the last transition.
        sequence: of the next transition; above 0 once the alert is open.
        reported_until: end of the clip of the last transition, on the same clock; None before the first.
        threshold: the ``open_threshold`` at which the row rose.

    Raises:
        ValueError: numbers that no row has.
    """

    first: ClipState
    last: ClipState
    peak: ClipState
    peak_value: float
    start: float
    until: float
    clips: int
    sequence: int
    reported_until: float | None = None
    threshold: float

    def __post_init__(self) -> None:
        if not (0 <= self.peak_value <= 1 and 0 < self.threshold <= 1):
            raise ValueError(f"row must have a peak and a threshold in [0, 1], got {self.peak_value}, {self.threshold}")
        if self.sequence < 0 or self.clips < 0:
            raise ValueError(f"row must count from 0, got sequence {self.sequence} and {self.clips} clips")
        if not (math.isfinite(self.start) and self.start < self.until < math.inf):
            raise ValueError(f"row must end after it starts, got {self.start}..{self.until}")
        if (self.reported_until is not None) != (self.sequence > 0):
            raise ValueError("reported_until belongs to an open alert, and only to it")
        if self.reported_until is not None and not math.isfinite(self.reported_until):
            raise ValueError(f"reported_until must be finite, got {self.reported_until}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """The state of :class:`operators.chain.ScoreChain` after its newest clip.

    Attributes:
        model, model_version: of the newest clip.
        newest: the newest clip, scored or held.
        smoothed: its smoothed score.
        stride_seconds: from one clip's start to the next one's; None before the second clip of a segment.
        window: the scores that the average covers: (clips before the newest, score), oldest first.
        held: the last real score, which gated clips get; None where they get none.
        row: the open or rising alert; None when quiet.
        cool_until: end of the cooldown, seconds on the clock of ``newest``; None outside one.

    Raises:
        ValueError: numbers that no chain has.
    """

    model: str
    model_version: str
    newest: ClipState
    smoothed: float
    stride_seconds: float | None = None
    window: tuple[tuple[int, float], ...] = ()
    held: float | None = None
    row: RowState | None = None
    cool_until: float | None = None

    def __post_init__(self) -> None:
        scores = [self.smoothed, *([] if self.held is None else [self.held]), *(score for _, score in self.window)]
        if not all(0 <= score <= 1 for score in scores):
            raise ValueError(f"scores must lie in [0, 1], got {scores}")
        ages = [age for age, _ in self.window]
        if ages != sorted(set(ages), reverse=True) or (ages and ages[-1] < 0):
            raise ValueError(f"clips of the average must be in order, oldest first, got {ages}")
        if self.stride_seconds is not None and not 0 < self.stride_seconds < math.inf:
            raise ValueError(f"stride_seconds must be a number above 0, got {self.stride_seconds}")
        if self.cool_until is not None and not math.isfinite(self.cool_until):
            raise ValueError(f"cool_until must be finite, got {self.cool_until}")


@dataclass(frozen=True, slots=True)
class HandOver:
    """The gap between the newest clip of a state and the first clip of the process that continues from it.

    Attributes:
        seconds: from the start of the one clip to that of the other, by wall clock; None: a wall-clock time is missing.
        lost: clips that would have had their place between the two.
        shift: seconds to add to a time of the old clip's clock to have it on the new one's.
    """

    seconds: float | None
    lost: int
    shift: float

    @classmethod
    def between(cls, state: ChainState, start: float, times: ClipTimes) -> HandOver:
        """Measure the gap up to a clip that starts at ``start`` on its stream's clock, at ``times``.

        The wall clock decides, because the stream's clock may have started anew. The worker's own times of capture are
        preferred: the time of a camera may jump between two connections. A clock that runs behind the former worker's
        makes no gap negative: the clip is then the next one.
        """
        newest = state.newest
        stride = state.stride_seconds or newest.end - newest.start
        seconds = _difference(newest.captured_at, times.captured_at)
        if seconds is None:
            seconds = _difference(newest.started_at, times.started_at)
        passed = stride if seconds is None else max(seconds, stride)
        lost = max(round(passed / stride) - 1, 0)
        return cls(None if seconds is None else passed, lost, start - (newest.start + passed))


def _difference(earlier: datetime | None, later: datetime | None) -> float | None:
    return None if earlier is None or later is None else (later - earlier).total_seconds()
