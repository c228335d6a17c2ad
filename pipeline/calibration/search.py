"""Search for the alert threshold that keeps false alarms within a budget, from a camera's normal footage alone.

Every alert in normal footage is a false alarm. The live operators are run over the scores of that footage at one
threshold after the other. The result is the lowest threshold at which the false alarms, as far as the length of the
footage can support, stay within the budget.

**What the footage supports.** With ``n`` false alarms in ``T`` hours the rate is, at a confidence ``c``, at most
``mean / T``, where ``mean`` solves ``P(N ≤ n; mean) = 1 − c`` for a Poisson variable N (the exact one-sided limit of F.
Garwood, Fiduciary limits for the Poisson distribution, Biometrika 28, 1936; equal to half the c-quantile of χ² with
2n + 2 degrees of freedom). Zero false alarms in T hours support a rate of 3.0 / T at 95 %, but not a lower one.

    >>> budget = parse_budget("1/day")
    >>> round(hours_needed(budget, confidence=0.95), 1)
    71.9

**Why the choice keeps the confidence.** Thresholds are tried in fixed steps from 1 downwards; the first failure ends
the search. The first threshold whose true rate exceeds the budget passes its test with a probability of at most 1 − c,
and every lower one is reached only through it. So the chosen threshold keeps the budget with confidence c, for any
number of thresholds, and even if the number of alerts does not rise as the threshold falls (fixed-sequence testing: A.
N. Angelopoulos et al., Learn then Test, 2021, section 3).

**The approximation.** The sequence would have to be fixed without a look at the footage. The opening thresholds are;
the closing thresholds are raised to a quantile of this footage (see below). That is a quantile of all clips, thousands
of them, while only a handful of alerts is counted: it hardly varies from one piece of a camera's footage to the next,
depends very little on the few clips of alerts, and has no effect if the ratio alone puts the closing threshold above
it. The tests compare the promise with a known rate in both cases. To keep it strictly, all closing thresholds that the
quantile could have chosen would have to pass, and all thresholds would be higher.

The bound assumes independent false alarms. False alarms in bursts are not independent; the cooldown merges a burst into
one alert, and :attr:`Calibrated.bursts` shows the remaining bursts.

**The hysteresis** keeps the given ratio of the two thresholds, because normal footage does not show how far scores dip
within an incident. It does show the level to which scores return: an alert closes no lower than the level below which
nearly all normal clips (:data:`NORMAL_SHARE`) lie, or it would outlast its incident. The effect on the number of alerts
is included in the count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from operators.alerting import AlertMachine, AlertSettings, AlertState, AlertTransition
from operators.chain import ChainSettings
from operators.checks import whole_number
from operators.scores import ClipScore, SegmentEnd, SmoothedScore
from operators.smoothing import CausalMovingAverage
from pipeline.errors import UsageError

CONFIDENCE = 0.95

#: Thresholds in the order of trial: finer towards 1, where the scores of many models concentrate.
THRESHOLDS: tuple[float, ...] = (
    *(step / 10_000 for step in range(10_000, 9_900, -1)),
    *(step / 1_000 for step in range(990, 0, -1)),
)
#: Share of the normal clips below the threshold that closes an alert, unless it opens lower.
NORMAL_SHARE = 0.95
#: Largest gap between two false alarms of one burst, seconds.
BURST_SECONDS = 60.0

_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0}
_SECONDS_AN_HOUR = 3600.0


class UnsupportedBudgetError(UsageError):
    """The footage cannot support the budget. One line with the rate that it supports and the hours required."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Allowed false alarms per camera.

    Attributes:
        text: as requested, ``1/day``.
        per_hour: per hour of one camera's footage, above 0.
    """

    text: str
    per_hour: float


def parse_budget(text: str) -> Budget:
    """Parse ``N/hour``, ``N/day`` or ``N/week`` of one camera; ``1/12hours`` and ``0.5/day`` are accepted, too.

    Raises:
        ValueError: another form, a budget of 0, which footage cannot promise, or more than one a second.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*(hour|day|week)s?\s*", text)
    if found is None:
        raise ValueError(f"budget {text!r}: expected false alarms over time, such as 1/day, 2/week or 0.5/hour")
    alerts, units = float(found[1]), float(found[2] or 1)
    per_hour = alerts / (units * _HOURS[found[3]]) if units else 0.0
    if per_hour == 0:
        raise ValueError(f"budget {text!r}: expected more than 0; footage cannot promise zero false alarms")
    if not per_hour <= _SECONDS_AN_HOUR:
        raise ValueError(f"budget {text!r}: expected at most one false alarm a second")
    return Budget(text.strip(), per_hour)


def upper_bound(alerts: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the largest mean of a Poisson variable that its value ``alerts`` does not exclude at ``confidence``.

    >>> round(upper_bound(0), 4), round(upper_bound(1), 4)
    (2.9957, 4.7439)

    Raises:
        ValueError: a negative count, or a confidence outside (0, 1).
    """
    from scipy.special import pdtri

    whole_number("alerts", alerts, least=0)
    _check_confidence(confidence)
    return float(pdtri(alerts, 1 - confidence))


def lower_bound(alerts: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the smallest such mean; 0 for zero alerts. Raises ValueError as :func:`upper_bound`."""
    from scipy.special import pdtri

    whole_number("alerts", alerts, least=0)
    _check_confidence(confidence)
    return float(pdtri(alerts - 1, confidence)) if alerts else 0.0


def hours_needed(budget: Budget, *, alerts: int = 0, confidence: float = CONFIDENCE) -> float:
    """Return the hours of normal footage that support ``budget`` with ``alerts`` false alarms in them."""
    return upper_bound(alerts, confidence=confidence) / budget.per_hour


def alerts_allowed(hours: float, budget: Budget, *, confidence: float = CONFIDENCE) -> int | None:
    """Return the most false alarms with which ``hours`` of footage support ``budget``; None: not even with 0."""
    if hours_needed(budget, confidence=confidence) > hours:
        return None
    # More alerts need more hours, so bisection finds the last supported count.
    enough, beyond = 0, 1
    while hours_needed(budget, alerts=beyond, confidence=confidence) <= hours:
        enough, beyond = beyond, 2 * beyond
    while beyond - enough > 1:
        middle = (enough + beyond) // 2
        if hours_needed(budget, alerts=middle, confidence=confidence) <= hours:
            enough = middle
        else:
            beyond = middle
    return enough


def require_hours(hours: float, budget: Budget, *, confidence: float = CONFIDENCE) -> int:
    """Return :func:`alerts_allowed`, or raise.

    Raises:
        UnsupportedBudgetError: ``hours`` of footage cannot support the budget, even without false alarms.
    """
    allowed = alerts_allowed(hours, budget, confidence=confidence)
    if allowed is None:
        wanted = hours_needed(budget, confidence=confidence)
        with_one = hours_needed(budget, alerts=1, confidence=confidence)
        best = f"these support {_rate(upper_bound(0, confidence=confidence) / hours)} at best" if hours > 0 else ""
        raise UnsupportedBudgetError(
            f"{_time(hours)} of normal footage cannot support a budget of {budget.text} at {100 * confidence:g} % "
            f"confidence: it takes {_time(wanted)} without a false alarm, or {_time(with_one)} with one"
            f"{'; ' + best if best else ''}"
        )
    return allowed


@dataclass(frozen=True, slots=True)
class NormalScores:
    """The clips of one unbroken piece (a segment) of normal footage, in order.

    Attributes:
        recording: name of its recording; several pieces may share one.
        index: int (N,), each clip's ordinal in the segment, rising.
        start, end: float64 (N,), seconds of the recording's clock.
        score: float64 (N,), raw, in [0, 1].
        gated: bool (N,), the clips that were not sent, whose score is held; None: none.

    Raises:
        ValueError: not rows of the same length, of at least one clip.
    """

    recording: str
    index: npt.NDArray[np.int64]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    gated: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        rows = (self.index, self.start, self.end, self.score, self.score if self.gated is None else self.gated)
        shapes = {row.shape for row in rows}
        if len(shapes) != 1 or len(*shapes) != 1 or not len(self.score):
            raise ValueError(f"{self.recording}: expected index, start, end and score of each clip, of at least one")

    @property
    def hours(self) -> float:
        """Hours from the first clip's start to the last one's end."""
        return float(self.end[-1] - self.start[0]) / _SECONDS_AN_HOUR


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """One alert of normal footage; seconds of the recording's clock, ``opened`` when it could first be known."""

    recording: str
    opened: float
    ended: float
    peak: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The lowest threshold within the budget, and its evidence.

    Attributes:
        settings: of the operators, with the thresholds found.
        false_alarms: at that threshold, by recording and time.
        allowed: number of false alarms that the footage and the budget allow.
    """

    settings: ChainSettings
    budget: Budget
    confidence: float
    hours: float
    false_alarms: tuple[FalseAlarm, ...]
    allowed: int

    @property
    def at_most_per_hour(self) -> float:
        """The promised rate's upper bound, false alarms per camera-hour; never above the budget."""
        return upper_bound(len(self.false_alarms), confidence=self.confidence) / self.hours

    @property
    def bursts(self) -> int:
        """Number of false alarms, with those within :data:`BURST_SECONDS` of one another counted once."""
        # An alarm earlier than its predecessor is of another segment, after a backward jump of the recording's clock.
        return sum(
            before is None or before.recording != one.recording or not 0 <= one.opened - before.ended < BURST_SECONDS
            for before, one in zip((None, *self.false_alarms), self.false_alarms, strict=False)
        )


def calibrate(
    footage: Sequence[NormalScores],
    settings: ChainSettings,
    budget: Budget,
    *,
    confidence: float = CONFIDENCE,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Calibrated:
    """Find the lowest of ``thresholds`` that keeps the false alarms within ``budget``; see the module's docstring.

    Args:
        footage: normal, at least one piece.
        settings: of the live operators. Only the ratio of the thresholds matters: that of the site or the model's card,
            not of an older calibration, whose close threshold may have been raised.
        budget: of one camera. Footage of several cameras is pooled: the promise is then for their mean, and quiet ones
            hide a noisy one.
        confidence: of the promise, in (0, 1).
        thresholds: opening thresholds to try, falling; chosen without a look at this footage.

    Raises:
        UnsupportedBudgetError: the footage is too short, or has too many false alarms at the highest threshold.
        ValueError: no footage, a confidence outside (0, 1), or thresholds that do not fall.
    """
    _check_confidence(confidence)
    if not footage:
        raise ValueError("a calibration needs at least one piece of normal footage")
    if not len(thresholds) or any(low >= high for high, low in pairwise(thresholds)):
        raise ValueError("thresholds must fall from one to the next")
    hours = sum(piece.hours for piece in footage)
    allowed = require_hours(hours, budget, confidence=confidence)
    pieces = smoothed(footage, settings)
    level = float(np.quantile(np.concatenate([piece.value for piece in pieces]), NORMAL_SHARE))
    found: Calibrated | None = None
    for opens in thresholds:
        tried = with_threshold(settings, opens, level)
        alarms = tuple(false_alarms(pieces, tried, most=allowed))
        if len(alarms) > allowed:
            break
        found = Calibrated(tried, budget, confidence, hours, alarms, allowed)
    if found is None:
        raise UnsupportedBudgetError(
            f"{_many(allowed)} in {_time(hours)} would keep the budget of {budget.text}; at a threshold of "
            f"{thresholds[0]:g} there are more: this model's scores do not suit this footage"
        )
    return found


def with_threshold(settings: ChainSettings, opens: float, level: float = 0.0) -> ChainSettings:
    """Return ``settings`` with an alert that opens at ``opens``.

    It closes at the same share of that as in ``settings`` if this is above ``level`` (of normal scores), else just
    above ``level``; rounded to four digits, and never above ``opens``.
    """
    share = settings.alert.close_threshold / settings.alert.open_threshold
    just_above = (math.floor(level * 10_000) + 1) / 10_000
    closes = min(opens, max(round(opens * share, 4), just_above))
    return replace(settings, alert=replace(settings.alert, open_threshold=opens, close_threshold=closes))


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A piece of footage with the live moving average; ``value``: float64 (N,)."""

    scores: NormalScores
    value: npt.NDArray[np.float64]

    def item(self, place: int) -> SmoothedScore:
        return SmoothedScore(_clip(self.scores, place), float(self.value[place]))


def smoothed(footage: Sequence[NormalScores], settings: ChainSettings) -> list[Smoothed]:
    """Return the causal average of each piece, by the live operator."""
    return [Smoothed(piece, np.fromiter(_average(piece, settings), np.float64, len(piece.score))) for piece in footage]


def false_alarms(
    footage: Sequence[Smoothed], settings: ChainSettings, *, most: int | None = None
) -> Iterator[FalseAlarm]:
    """Yield the alerts that the operators raise, in order; at most ``most`` + 1 if that is given."""
    raised = 0
    for piece in footage:
        for begin, end in _alerts(piece, settings.alert, settings.max_hole):
            yield FalseAlarm(piece.scores.recording, begin.last.end, end.last.end, end.peak.value)
            raised += 1
            if most is not None and raised > most:
                return


def _alerts(
    piece: Smoothed, settings: AlertSettings, max_hole: int
) -> Iterator[tuple[AlertTransition, AlertTransition]]:
    """Yield begin and end of each alert.

    Scores below the threshold do not change a quiet machine. So the machine gets only the clips at or above its
    threshold, and the following ones as long as it retains a clip: a thousand thresholds over a month of footage cost
    little more than the alerts in it.
    """
    machine = AlertMachine(piece.scores.recording, settings, max_hole=max_hole)
    begin: AlertTransition | None = None
    place = 0
    for high in np.flatnonzero(piece.value >= settings.open_threshold):
        place = max(place, int(high))
        while place == high or (machine.retained and place < len(piece.value)):
            for transition in machine.push(piece.item(place)):
                if transition.state is AlertState.BEGIN:
                    begin = transition
                elif transition.state is AlertState.END:
                    assert begin is not None
                    yield begin, transition
            place += 1
    over = SegmentEnd(piece.scores.recording, _SEGMENT, int(piece.scores.index[-1]) + 1, "stream_end")
    for transition in machine.push(over):
        assert begin is not None
        yield begin, transition


_SEGMENT = "normal"  #: each piece is judged alone, so its name is arbitrary


def _clip(piece: NormalScores, place: int) -> ClipScore:
    return ClipScore(
        piece.recording,
        _SEGMENT,
        int(piece.index[place]),
        float(piece.start[place]),
        float(piece.end[place]),
        float(piece.score[place]),
        "",
        "",
        gated=piece.gated is not None and bool(piece.gated[place]),
    )


def _average(piece: NormalScores, settings: ChainSettings) -> Iterator[float]:
    average = CausalMovingAverage(settings.kernel, settings.max_hole)
    for place in range(len(piece.score)):
        step = average.push(_clip(piece, place))
        assert step is not None  # the average returns a value for every clip
        yield step.value


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _rate(per_hour: float) -> str:
    return f"{per_hour:.3g}/hour" if per_hour >= 1 else f"{24 * per_hour:.3g}/day"


def _many(alerts: int) -> str:
    return f"{alerts} false alarm{'' if alerts == 1 else 's'}"


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
