"""Figures of alerts as an operator experiences them: incidents found, false alarms, delays.

Alerts are judged against incidents with known times, camera by camera, all on the clock of that camera's footage.

    >>> incidents = [Span(10.0, 15.0), Span(30.0, 34.0)]
    >>> alerts = [Span(12.0, 17.0), Span(50.0, 53.0)]  # the second is a false alarm
    >>> sheet = score(incidents, alerts, watched=Span(0.0, 60.0), kinds=["fall", "runner"])
    >>> sheet.recall, sheet.precision, sheet.delays
    (0.5, 0.5, (2.0,))
    >>> sheet.false_alarms_per_camera_hour
    60.0
    >>> (sheet + sheet).incidents  # two cameras
    4

**When an alert opened** is the end of the clip whose smoothed score crossed the threshold: the alert could not have
been known earlier. (An alert event's own ``started_at`` is the *beginning* of its first clip, usually earlier than the
incident; judged by that, every good alert would have come too soon.)

**Which alert found which incident.** An alert can find an incident that had begun when it opened and had ended at most
``tolerance`` seconds before: clips and smoothing lag, so the end of a short incident may be what crosses the threshold.
An alert that was open before the incident began did not report it, even if it was right to stay open. Pairs are one to
one: an alert that lasts through three incidents finds one, and the second alert of one incident is a false alarm. Hence
an alert that never ends finds at most one incident, and none that begins after it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from operators.checks import seconds, threshold, whole_number

#: Longest time from an incident's end to its alert, seconds: a clip of 1.28 s and the delay of smoothing.
TOLERANCE_SECONDS = 2.0
#: Time around an incident that belongs neither to it nor to the time without incidents, seconds.
MARGIN_SECONDS = 2.0

_SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Span:
    """The time from ``start`` until ``end``, seconds of one clock; ``end`` is infinite while it is not over.

    An incident's span runs from the time of its first frame to the end of its last frame. An alert's span runs from
    its opening to its end.

    Raises:
        ValueError: ``start`` is not finite, or after ``end``.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start <= self.end):  # also refuses NaN
            raise ValueError(f"a span must start at a finite time and not after its end, got {self.start}..{self.end}")

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Match(NamedTuple):
    """An incident and the alert that found it: their places in the matched sequences."""

    incident: int
    alert: int


def match(incidents: Sequence[Span], alerts: Sequence[Span], tolerance: float = TOLERANCE_SECONDS) -> tuple[Match, ...]:
    """Pair incidents and alerts of one camera one to one, with the largest number of pairs.

    A pair needs ``incident.start <= alert.start <= incident.end + tolerance``. Of several largest sets of pairs, the
    alerts in order of time each take the incident that ends first: the first alert of an incident is the one that
    found it, and if two incidents compete for an alert, its delay is the longer one. (Each alert is an instant and
    each incident an interval, so taking the earliest end never loses a pair: it is the schedule of unit jobs with
    release times and deadlines. O(n log n).)

    Args:
        incidents, alerts: in any order; incidents may overlap.
        tolerance: seconds after an incident's end.

    Returns:
        The pairs by the time of their alerts.

    Raises:
        ValueError: a negative or infinite ``tolerance``.
    """
    seconds("tolerance", tolerance, zero_allowed=True)
    to_come = sorted(range(len(incidents)), key=lambda i: incidents[i].start, reverse=True)
    running: list[tuple[float, float, int]] = []  # heap of (end, start, place) of unfound incidents
    pairs = []
    for alert in sorted(range(len(alerts)), key=lambda a: alerts[a].start):
        now = alerts[alert].start
        while to_come and incidents[to_come[-1]].start <= now:
            incident = to_come.pop()
            heapq.heappush(running, (incidents[incident].end, incidents[incident].start, incident))
        while running and running[0][0] + tolerance < now:
            heapq.heappop(running)
        if running:
            pairs.append(Match(heapq.heappop(running)[2], alert))
    return tuple(pairs)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one incident: its kind ("" if not given), and the seconds to its alert, None if missed."""

    kind: str
    delay: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Outcomes of incidents. An undefined figure (such as the recall of zero incidents) is None, never a number."""

    outcomes: tuple[Outcome, ...] = ()

    @property
    def incidents(self) -> int:
        return len(self.outcomes)

    @property
    def found(self) -> int:
        return len(self.delays)

    @property
    def recall(self) -> float | None:
        """Event recall in [0, 1]: the share of the incidents that an alert found."""
        return _ratio(self.found, self.incidents)

    @property
    def delays(self) -> tuple[float, ...]:
        """Seconds from the first frame to the alert, of the incidents that were found."""
        return tuple(outcome.delay for outcome in self.outcomes if outcome.delay is not None)

    @property
    def median_delay(self) -> float | None:
        """Median delay in seconds; for an even number of delays the mean of the middle two."""
        return _percentile(self.delays, 50)

    @property
    def p95_delay(self) -> float | None:
        """The 95th percentile of the delays in seconds, linear between neighbouring delays (numpy's default)."""
        return _percentile(self.delays, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSheet(Findings):
    """Figures of one watched camera, or of several added up: two with ``+``, many with :func:`total`.

    Counts and times are added, so the shares of a sum are those of all cameras pooled.

    Attributes:
        alerts: number of alerts that opened while the camera was watched.
        false_alarms: those of them that did not find an incident.
        camera_seconds: total time for which cameras were watched.
        time_outside: seconds of that without incidents, beyond the margin around them.
        time_in_alert_outside: seconds of ``time_outside`` with an alert open.
    """

    alerts: int = 0
    false_alarms: int = 0
    camera_seconds: float = 0.0
    time_outside: float = 0.0
    time_in_alert_outside: float = 0.0

    def __add__(self, other: ScoreSheet) -> ScoreSheet:
        return ScoreSheet(
            outcomes=self.outcomes + other.outcomes,
            alerts=self.alerts + other.alerts,
            false_alarms=self.false_alarms + other.false_alarms,
            camera_seconds=self.camera_seconds + other.camera_seconds,
            time_outside=self.time_outside + other.time_outside,
            time_in_alert_outside=self.time_in_alert_outside + other.time_in_alert_outside,
        )

    @property
    def precision(self) -> float | None:
        """Event precision in [0, 1]: the share of the alerts that found an incident."""
        return _ratio(self.alerts - self.false_alarms, self.alerts)

    @property
    def false_alarms_per_camera_hour(self) -> float | None:
        return _ratio(self.false_alarms * _SECONDS_AN_HOUR, self.camera_seconds)

    @property
    def share_in_alert_outside(self) -> float | None:
        """Share in [0, 1] of the time without incidents that was spent in alert; 1 for one that never ends."""
        return _ratio(self.time_in_alert_outside, self.time_outside)

    def by_kind(self) -> dict[str, Findings]:
        """Return the findings for each kind of incident, by name of the kind."""
        kinds = sorted({outcome.kind for outcome in self.outcomes})
        return {
            kind: Findings(outcomes=tuple(outcome for outcome in self.outcomes if outcome.kind == kind))
            for kind in kinds
        }


def total(sheets: Iterable[ScoreSheet]) -> ScoreSheet:
    """Add up all sheets in one pass; repeated ``+`` would copy the outcomes each time."""
    every = list(sheets)
    return ScoreSheet(
        outcomes=tuple(outcome for sheet in every for outcome in sheet.outcomes),
        alerts=sum(sheet.alerts for sheet in every),
        false_alarms=sum(sheet.false_alarms for sheet in every),
        camera_seconds=sum((sheet.camera_seconds for sheet in every), 0.0),
        time_outside=sum((sheet.time_outside for sheet in every), 0.0),
        time_in_alert_outside=sum((sheet.time_in_alert_outside for sheet in every), 0.0),
    )


def score(
    incidents: Sequence[Span],
    alerts: Sequence[Span],
    watched: Span,
    *,
    kinds: Sequence[str] | None = None,
    tolerance: float = TOLERANCE_SECONDS,
    margin: float = MARGIN_SECONDS,
    delay: Callable[[Match], float] | None = None,
) -> ScoreSheet:
    """Return the score sheet of one camera.

    Spans that cross an end of ``watched`` count for their visible part. An incident with any visible part counts as
    one that could be found, with its first frame at ``watched.start`` if it had begun before. An alert that had opened
    before is not counted, though its time is.

    Args:
        incidents: the true incidents, in any order.
        alerts: when each opened (see the module's docstring) and ended, in any order.
        watched: the time for which the camera was watched; finite.
        kinds: of the incidents, one each; None if they are all alike.
        tolerance: see :func:`match`, seconds.
        margin: seconds before and after each incident that are not time without incidents.
        delay: seconds from the first frame of a pair's incident to its alert, by the caller's clock; None: by the
            clock of the footage, ``alert.start - incident.start``.

    Raises:
        ValueError: ``watched`` does not end; not as many ``kinds`` as incidents; an invalid tolerance or margin.
    """
    seconds("margin", margin, zero_allowed=True)
    if not math.isfinite(watched.end):
        raise ValueError("watched must end: alarms an hour need a finite time")
    if kinds is not None and len(kinds) != len(incidents):
        raise ValueError(f"expected one kind for each of {len(incidents)} incidents, got {len(kinds)}")
    shown = [i for i, span in enumerate(incidents) if span.start < watched.end and span.end > watched.start]
    opened = [a for a, span in enumerate(alerts) if watched.start <= span.start <= watched.end]
    pairs = match([incidents[i] for i in shown], [alerts[a] for a in opened], tolerance)

    def on_footage(pair: Match) -> float:
        return alerts[pair.alert].start - max(incidents[pair.incident].start, watched.start)

    count_delay = delay or on_footage
    delays = {shown[i]: count_delay(Match(shown[i], opened[a])) for i, a in pairs}
    around = [Span(span.start - margin, span.end + margin) for span in incidents]
    near = _covered(around, watched)
    return ScoreSheet(
        outcomes=tuple(Outcome(kinds[i] if kinds else "", delays.get(i)) for i in shown),
        alerts=len(opened),
        false_alarms=len(opened) - len(pairs),
        camera_seconds=watched.seconds,
        time_outside=max(0.0, watched.seconds - near),  # a sum of many spans may round above the total
        time_in_alert_outside=max(0.0, _covered([*around, *alerts], watched) - near),
    )


class Interval(NamedTuple):
    """An interval from ``low`` to ``high``."""

    low: float
    high: float


Figure = Callable[[ScoreSheet], float | None]

#: The figures of a sheet by their names.
FIGURES: Mapping[str, Figure] = {
    name: attrgetter(name)
    for name in (
        "recall",
        "precision",
        "false_alarms_per_camera_hour",
        "share_in_alert_outside",
        "median_delay",
        "p95_delay",
    )
}


def bootstrap(
    units: Sequence[ScoreSheet],
    rng: np.random.Generator,
    *,
    figures: Mapping[str, Figure] = FIGURES,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval | None]:
    """Return percentile bootstrap intervals of the figures of all units together.

    Each of the ``draws`` draws takes as many units as there are, with replacement, and adds them up. An interval holds
    the middle ``level`` of the drawn values. Draws without the figure (no alert, no precision) are left out; an
    interval is None if the figure is undefined in every draw. The units must be independent samples: seeds of a scene,
    days, sites. Incidents of one scene are not.

    The interval reflects only the given units: if all of twenty found everything, it is 1 to 1.

    Args:
        draws: number of draws; 2000 determine the ends of a 95 % interval to about a hundredth of its length.
        level: above 0, at most 1.

    Raises:
        ValueError: no units, or an invalid ``draws`` or ``level``.
    """
    whole_number("draws", draws, least=1)
    threshold("level", level)
    if not units:
        raise ValueError("a bootstrap needs at least one unit")
    values: dict[str, list[float]] = {name: [] for name in figures}
    for chosen in rng.integers(0, len(units), (draws, len(units))):
        drawn = total(units[unit] for unit in chosen.tolist())
        for name, figure in figures.items():
            if (value := figure(drawn)) is not None:
                values[name].append(value)
    tail = 50 * (1 - level)  # per cent at each end
    return {
        name: Interval(*map(float, np.percentile(found, (tail, 100 - tail)))) if found else None
        for name, found in values.items()
    }


def _covered(spans: Iterable[Span], within: Span) -> float:
    """Return how many seconds of ``within`` lie in at least one of ``spans``."""
    pieces: list[float] = []
    until = within.start  # everything before this is counted
    for span in sorted(spans, key=attrgetter("start")):
        start, end = max(span.start, until), min(span.end, within.end)
        if start < end:
            pieces.append(end - start)
            until = end
    return math.fsum(pieces)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
