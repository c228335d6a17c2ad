"""Drift: the scores of a detector show that its camera no longer looks as it was learned.

A detector whose scores are rarities (:mod:`operators.rarity`) knows how its scores are distributed on normal footage:
a tenth of the clips lies above the 90 % quantile, at most. Ties lower that share and never raise it. The share is
counted minute by minute, and E. S. Page's cumulative sum (Continuous inspection schemes, Biometrika 41, 1954) compares
two explanations of the minutes so far: a usual share q = 0.2, and one of r = 0.5. After a minute with the share x,

    S ← max(0, S + x · ln(r / q) + (1 − x) · ln((1 − r) / (1 − q)))

and drift is reported when S reaches ln N. Its end is found by the same sum with q and r exchanged.

As long as the expected share of a minute, whatever came before, is at most q, a false report comes once in N minutes on
average, or more rarely. exp of the increment is a convex function of x whose expectation is then at most 1, however the
clips of a minute hang together. For such increments, G. Lorden (Procedures for reacting to a change in distribution,
Annals of Mathematical Statistics 42, 1971) gives the bound; J. Shin, A. Ramdas and A. Rinaldo (E-detectors: a
nonparametric framework for sequential change detection, New England Journal of Statistics in Data Science 2, 2024)
prove it without a model of x. Busy times that last longer than a minute are covered by the distance from a tenth to q.

The test is one-sided. Low scores say that little moves, as on any quiet night, and not that the camera has changed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from operators.rarity import TAIL_FROM, score_of
from operators.scores import ClipScore, is_other_model

#: Score above which at most :data:`LEARNED_SHARE` of the clips lie that are like the learned footage.
LEVEL = score_of(1 - TAIL_FROM)
LEARNED_SHARE = round(1 - TAIL_FROM, 9)
#: Seconds of footage whose share is one observation: longer than most of what passes by a camera.
BLOCK_SECONDS = 60.0
#: Highest share that counts as usual: twice the learned one, because the level comes from minutes of held-back footage
#: and activity changes with the hour.
USUAL_SHARE = 0.2
#: The share that is to be noticed, within about an hour: half of the clips.
DRIFTED_SHARE = 0.5
#: Blocks for one false report, at least, on average: a year of footage.
BLOCKS_A_FALSE_REPORT = 365 * 24 * 60
#: Newest blocks whose share is shown: an hour of footage.
SHOWN_BLOCKS = 60

_RARE = math.log(DRIFTED_SHARE / USUAL_SHARE)
_USUAL = math.log((1 - DRIFTED_SHARE) / (1 - USUAL_SHARE))
_LIMIT = math.log(BLOCKS_A_FALSE_REPORT)

#: Blocks before which nothing is known: no drift could be noticed in fewer, even if all their clips were rare. Shorter
#: incidents are never drift.
LEAST_BLOCKS = math.ceil(_LIMIT / _RARE)

# A score of exactly the level belongs to the nine tenths. float32 moves it by a little.
_TOLERANCE_SCORE = 1e-6
# Sums of frame times carry rounding: see operators.alerting.
_TOLERANCE_SECONDS = 1e-6

# Reasons for which the machine itself ends a drift.
AS_LEARNED_AGAIN = "as_learned_again"
MODEL_CHANGED = "model_changed"


class DriftState(StrEnum):
    """The state of one camera and detector."""

    UNKNOWN = "unknown"  #: too little footage
    AS_LEARNED = "as_learned"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class DriftSeen:
    """The state, and the share of clips above :data:`LEVEL` in the last hour of footage; None while it is unknown.

    In footage like the learned one the share is about :data:`LEARNED_SHARE`, or less.
    """

    state: DriftState
    share: float | None


@dataclass(frozen=True, slots=True)
class DriftTransition:
    """The begin or the end of a drift.

    Attributes:
        first: the first clip of the drift: that after which S was never 0 again before it reached its limit.
        last: the newest clip.
        clips: clips of its complete blocks; gated ones count with their held score.
        share: the share of them above :data:`LEVEL`.
        end_reason: ``as_learned_again``, ``model_changed``, or the reason given to :meth:`DriftMachine.close`; None for
            the begin.
    """

    camera: str
    first: ClipScore
    last: ClipScore
    clips: int
    share: float
    end_reason: str | None = None


@dataclass(slots=True)
class _Count:
    """Clips in a row, and those of them above the level."""

    first: ClipScore
    clips: int = 0
    rare: int = 0

    @property
    def share(self) -> float:
        return self.rare / self.clips

    def add(self, other: _Count) -> None:
        self.clips += other.clips
        self.rare += other.rare


@dataclass(slots=True)
class _Past:
    """All that is remembered of one model's scores."""

    newest: ClipScore | None = None
    watched_until: float = 0.0  #: seconds of the newest clip's segment
    block: _Count | None = None
    block_seconds: float = 0.0  #: of footage that the block covers so far
    blocks: int = 0  #: complete ones
    shown: deque[_Count] = field(default_factory=lambda: deque(maxlen=SHOWN_BLOCKS))
    sum: float = 0.0  #: S, towards a drift or, during one, towards its end
    rise: _Count | None = None  #: the blocks since S was 0
    drift: _Count | None = None


class DriftMachine:
    """Notices the begin and the end of a drift in the scores of one camera and detector, both reported once.

    Time is the footage that clips cover: gaps, outages and the parts of clips that overlap do not count. A block may
    reach over the end of a segment. The first clip of another model or version ends a drift and starts over.

    Memory: one count for each of the newest :data:`SHOWN_BLOCKS` blocks.

    Pure and not thread-safe.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._past = _Past()

    @property
    def seen(self) -> DriftSeen:
        """Return the state after the newest complete block."""
        past = self._past
        if past.drift is None and past.blocks < LEAST_BLOCKS:
            return DriftSeen(DriftState.UNKNOWN, None)
        share = sum(block.rare for block in past.shown) / sum(block.clips for block in past.shown)
        return DriftSeen(DriftState.AS_LEARNED if past.drift is None else DriftState.DRIFTED, share)

    @property
    def blocks(self) -> int:
        """Number of complete blocks since it started or started over; :attr:`seen` changes with it alone."""
        return self._past.blocks

    def push(self, clip: ClipScore) -> DriftTransition | None:
        """Take the next clip in order; return the begin or the end that it causes.

        Raises:
            ValueError: a clip of another camera.
        """
        if clip.camera != self._camera:
            raise ValueError(f"camera {self._camera}: got a clip of camera {clip.camera}")
        newest = self._past.newest
        ended = None
        if newest is not None and is_other_model(newest, clip):
            ended = self.close(MODEL_CHANGED)
        past = self._past
        same_segment = past.newest is not None and past.newest.segment == clip.segment
        watched_until = max(clip.start, past.watched_until) if same_segment else clip.start
        past.block_seconds += max(0.0, clip.end - watched_until)
        past.watched_until = max(clip.end, watched_until)
        past.newest = clip
        if past.block is None:
            past.block = _Count(clip)
        past.block.clips += 1
        past.block.rare += clip.score > LEVEL + _TOLERANCE_SCORE
        if past.block_seconds < BLOCK_SECONDS - _TOLERANCE_SECONDS:
            return ended
        block, past.block, past.block_seconds = past.block, None, 0.0
        return self._judge(block) or ended

    def close(self, reason: str) -> DriftTransition | None:
        """End a drift with ``reason``, forget everything, and start over."""
        drift = self._past.drift
        ended = None if drift is None else self._transition(drift, reason)
        self._past = _Past()
        return ended

    def _judge(self, block: _Count) -> DriftTransition | None:
        """Take a complete block."""
        past = self._past
        past.blocks += 1
        past.shown.append(block)
        towards_drift = block.share * _RARE + (1 - block.share) * _USUAL
        if past.drift is not None:
            past.drift.add(block)
            past.sum = max(0.0, past.sum - towards_drift)
            if past.sum < _LIMIT:
                return None
            drift, past.drift, past.sum = past.drift, None, 0.0
            return self._transition(drift, AS_LEARNED_AGAIN)
        past.sum = max(0.0, past.sum + towards_drift)
        if past.sum == 0:
            past.rise = None
            return None
        past.rise = past.rise or _Count(block.first)
        past.rise.add(block)
        if past.sum < _LIMIT:
            return None
        past.drift, past.rise, past.sum = past.rise, None, 0.0
        return self._transition(past.drift, None)

    def _transition(self, drift: _Count, end_reason: str | None) -> DriftTransition:
        assert self._past.newest is not None  # a drift has clips
        return DriftTransition(self._camera, drift.first, self._past.newest, drift.clips, drift.share, end_reason)
