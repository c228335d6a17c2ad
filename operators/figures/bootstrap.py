"""Confidence intervals of figures over other videos, and comparison of two models: the paired bootstrap.

A *run* is one set of scored videos. Several runs (seeds of a training, splits of a data set) are judged together: a
figure is then the mean over the runs. A draw holds the same copies of a video in every run that has it, because seeds
and splits do not create new videos. Two models are compared on the same draws, so that effects common to both cancel
(B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16).

    >>> from operators.figures.videos import ScoredVideo
    >>> good = [ScoredVideo(f"v{i}", label=i % 2, score=i % 2 + i / 100) for i in range(20)]
    >>> poor = [ScoredVideo(f"v{i}", label=i % 2, score=i / 20) for i in range(20)]
    >>> compare([good], [poor], names=["video_auc"], draws=200)["video_auc"].excludes_zero
    True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from operators.checks import threshold as share
from operators.checks import whole_number
from operators.figures.events import FIGURES as ALERT_FIGURES
from operators.figures.events import Interval, ScoreSheet, total
from operators.figures.events import bootstrap as bootstrap_sheets
from operators.figures.pixels import FIGURES as PIXEL_FIGURES
from operators.figures.pixels import PixelCounts, PixelSample, pixel_figures
from operators.figures.ranked import FAR_THRESHOLD, Sample, Undefined, check_names, figure_of
from operators.figures.videos import ScoredVideo

#: Enough to determine the ends of a 95 % interval to about a hundredth of its length.
DRAWS = 2000
LEVEL = 0.95

Run = Sequence[ScoredVideo]
Unit = Literal["video", "group"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: over all videos; the mean if there are several runs. None if it is not defined.
        interval: holds the middle share of the draws; None if the figure is undefined in every draw.
        runs: the value of each run.
        spread: standard deviation over runs. The interval does not include it, because it is about videos.
    """

    value: float | None
    interval: Interval | None
    reason: str = ""
    runs: tuple[float | None, ...] = ()

    @property
    def spread(self) -> float | None:
        defined = [value for value in self.runs if value is not None]
        return float(np.std(defined)) if len(defined) > 1 else None

    def summary(self) -> dict[str, Any]:
        """Return the JSON form for people: four digits, and only defined parts."""
        if self.value is None:
            return {"value": None, "reason": self.reason}
        written: dict[str, Any] = {"value": round(self.value, 4), "interval_95": _rounded(self.interval)}
        if len(self.runs) > 1:
            written["runs"] = [None if value is None else round(value, 4) for value in self.runs]
            written["spread"] = None if self.spread is None else round(self.spread, 4)
        return written


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of a figure of the first model from the second one's.

    Attributes:
        value: over all videos.
        interval: of the difference over the same draws.
        above: share of the draws in which the first model's figure is the greater one.
    """

    value: float | None
    interval: Interval | None
    above: float | None
    reason: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Return whether the interval lies wholly on one side of 0."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)

    def summary(self) -> dict[str, Any]:
        """Return the JSON form, see :meth:`Estimate.summary`."""
        if self.value is None or self.above is None:
            return {"value": None, "reason": self.reason}
        return {
            "value": round(self.value, 4),
            "interval_95": _rounded(self.interval),
            "above": round(self.above, 4),
            "excludes_zero": self.excludes_zero,
        }


def estimate(
    runs: Sequence[Run],
    *,
    names: Sequence[str] | None = None,
    by: Unit = "video",
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
    threshold: float = FAR_THRESHOLD,
) -> dict[str, Estimate]:
    """Return figures with percentile bootstrap intervals.

    Each of the ``draws`` draws takes as many units as there are, with replacement. Draws without the figure (one class
    only) are left out of its interval; within a draw, runs without the figure are left out.

    Args:
        runs: at least one; videos of one name are the same video.
        names: of :data:`operators.figures.ranked.FIGURES`; all if None.
        by: the independent unit of chance: videos, or the groups they come from. Videos of one group resemble each
            other, and draws by video then underestimate the interval.
        level: share of the draws that an interval holds, above 0, at most 1.
        threshold: above which a frame is a false alarm.

    Raises:
        ValueError: no run, a run without a video or with two of one name, an unknown figure, or invalid settings.
    """
    chosen = check_names(names)
    joined = _Joined(runs, by, threshold)
    found: dict[str, list[float]] = {name: [] for name in chosen}
    for copies in _draws(joined.units, draws, level, seed):
        for name, (value, _, _) in joined.figures(chosen, copies).items():
            if value is not None:
                found[name].append(value)
    return {
        name: Estimate(value, _interval(found[name], level) if value is not None else None, reason, each)
        for name, (value, reason, each) in joined.figures(chosen, None).items()
    }


def compare(
    first: Sequence[Run],
    second: Sequence[Run],
    *,
    names: Sequence[str] | None = None,
    by: Unit = "video",
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
    threshold: float = FAR_THRESHOLD,
) -> dict[str, Difference]:
    """Return the figures of ``first`` minus those of ``second``, with intervals of the difference by paired draws.

    Args:
        first, second: two models' runs over the same videos. Both have the same number of runs, the n-th of each over
            the same videos; or one of them is a single run (a model without a seed) that is paired with each.
        names, by, draws, level, seed, threshold: see :func:`estimate`.

    Raises:
        ValueError: see :func:`estimate`; or the two were not scored on the same videos.
    """
    chosen = check_names(names)
    first, second = _paired(first, second)
    one, other = _Joined(first, by, threshold), _Joined(second, by, threshold)
    found: dict[str, list[float]] = {name: [] for name in chosen}
    for copies in _draws(one.units, draws, level, seed):
        theirs = other.figures(chosen, copies)
        for name, (value, _, _) in one.figures(chosen, copies).items():
            less = theirs[name][0]
            if value is not None and less is not None:
                found[name].append(value - less)
    differences = {}
    of_first, of_second = one.figures(chosen, None), other.figures(chosen, None)
    for name in chosen:
        (value, reason, _), (less, other_reason, _) = of_first[name], of_second[name]
        reason = reason or other_reason or "undefined in every draw"
        differences[name] = _difference(value, less, found[name], level, reason)
    return differences


def estimate_alerts(
    units: Sequence[tuple[str, ScoreSheet]], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """Return the figures of the sum of score sheets, with intervals as in :func:`estimate`.

    Args:
        units: for each video the name of its unit (itself, or its group) and its sheet; at least one.
        draws, seed: see :func:`estimate`.

    Raises:
        ValueError: no sheet, or invalid settings.
    """
    if not units:
        raise ValueError("figures of alerts need at least one score sheet")
    sheets = _summed(units)
    intervals = bootstrap_sheets(sheets, np.random.default_rng(seed), draws=draws, level=LEVEL)
    summed = total(sheets)
    values = {name: figure(summed) for name, figure in ALERT_FIGURES.items()}
    return {
        name: Estimate(None, None, _undefined_reason(summed)) if value is None else Estimate(value, intervals[name])
        for name, value in values.items()
    }


def estimate_pixels(
    units: Sequence[tuple[str, PixelCounts]], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """Return the figures of maps against masks, of all videos together, with intervals as in :func:`estimate`.

    Args:
        units: for each video the name of its unit (itself, or its group) and its counts, all at the same levels; at
            least one.
        draws, seed: see :func:`estimate`.

    Raises:
        ValueError: no video, or invalid settings.
    """
    counted = _PixelUnits(units)
    try:
        values = counted.figures()
    except Undefined as reason:
        return {name: Estimate(None, None, str(reason)) for name in PIXEL_FIGURES}
    found: dict[str, list[float]] = {name: [] for name in PIXEL_FIGURES}
    for copies in _draws(counted.units, draws, LEVEL, seed):
        try:
            drawn = counted.figures(copies)
        except Undefined:
            continue
        for name, value in drawn.items():
            found[name].append(value)
    return {name: Estimate(value, _interval(found[name], LEVEL)) for name, value in values.items()}


def compare_alerts(
    first: Sequence[tuple[str, ScoreSheet]],
    second: Sequence[tuple[str, ScoreSheet]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return the figures of ``first`` minus those of ``second``, by paired draws.

    Args:
        first, second: see :func:`estimate_alerts`; of the same units.
        draws, seed: see :func:`estimate_alerts`.

    Raises:
        ValueError: see :func:`estimate_alerts`; or the units differ.
    """
    if not first or {unit for unit, _ in first} != {unit for unit, _ in second}:
        raise ValueError("a comparison of alerts needs score sheets of the same videos on both sides")
    ours, theirs = _summed(first), _summed(second)
    found: dict[str, list[float]] = {name: [] for name in ALERT_FIGURES}
    for copies in _draws(len(ours), draws, LEVEL, seed):
        one, other = _added(ours, copies), _added(theirs, copies)
        for name, figure in ALERT_FIGURES.items():
            value, less = figure(one), figure(other)
            if value is not None and less is not None:
                found[name].append(value - less)
    of_first, of_second = total(ours), total(theirs)
    differences = {}
    for name, figure in ALERT_FIGURES.items():
        value, less = figure(of_first), figure(of_second)
        reason = _undefined_reason(of_first if value is None else of_second)
        differences[name] = _difference(value, less, found[name], LEVEL, reason)
    return differences


def compare_pixels(
    first: Sequence[tuple[str, PixelCounts]],
    second: Sequence[tuple[str, PixelCounts]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return the figures of ``first`` minus those of ``second``, by paired draws.

    Args:
        first, second: see :func:`estimate_pixels`; of the same units. The levels of the two may differ.
        draws, seed: see :func:`estimate_pixels`.

    Raises:
        ValueError: see :func:`estimate_pixels`; or the units differ.
    """
    if not first or {unit for unit, _ in first} != {unit for unit, _ in second}:
        raise ValueError("a comparison of maps needs counts of the same videos on both sides")
    ours, theirs = _PixelUnits(first), _PixelUnits(second)
    try:
        values, others = ours.figures(), theirs.figures()
    except Undefined as reason:
        return {name: Difference(None, None, None, str(reason)) for name in PIXEL_FIGURES}
    found: dict[str, list[float]] = {name: [] for name in PIXEL_FIGURES}
    for copies in _draws(ours.units, draws, LEVEL, seed):
        try:
            drawn, less = ours.figures(copies), theirs.figures(copies)
        except Undefined:
            continue
        for name in PIXEL_FIGURES:
            found[name].append(drawn[name] - less[name])
    unless = "undefined in every draw"
    return {name: _difference(values[name], others[name], found[name], LEVEL, unless) for name in PIXEL_FIGURES}


class _PixelUnits:
    """Counts of videos, drawn by units."""

    def __init__(self, units: Sequence[tuple[str, PixelCounts]]) -> None:
        self._sample = PixelSample([counts for _, counts in units])
        names, self._of_video = np.unique([unit for unit, _ in units], return_inverse=True)
        self.units = len(names)

    def figures(self, copies: npt.NDArray[np.int64] | None = None) -> Mapping[str, float]:
        """Return the figures of so many copies of each unit, one of each if None. Raises Undefined."""
        return pixel_figures(self._sample.drawn(None if copies is None else copies[self._of_video]))


def _difference(
    value: float | None, less: float | None, drawn: Sequence[float], level: float, reason: str
) -> Difference:
    """Return the difference of two values with the interval of the drawn differences; ``reason`` if there is none."""
    if value is None or less is None or not drawn:
        return Difference(None, None, None, reason)
    return Difference(value - less, _interval(drawn, level), float(np.mean(np.array(drawn) > 0)))


def _summed(units: Sequence[tuple[str, ScoreSheet]]) -> list[ScoreSheet]:
    """Return a sheet for each unit, in order of the units' names."""
    sheets: dict[str, ScoreSheet] = {}
    for unit, sheet in units:
        sheets[unit] = sheets.get(unit, ScoreSheet()) + sheet
    return [sheets[unit] for unit in sorted(sheets)]


def _added(sheets: Sequence[ScoreSheet], copies: npt.NDArray[np.int64]) -> ScoreSheet:
    return total(sheets[unit] for unit in np.repeat(np.arange(len(sheets)), copies).tolist())


def _undefined_reason(sheet: ScoreSheet) -> str:
    """Return the reason why a figure of this sheet may have no value."""
    counts = {"incident": sheet.incidents, "alert": sheet.alerts, "found incident": sheet.found}
    return next(
        (f"the footage has no {what}" for what, count in counts.items() if not count),
        "the footage has no time to count in",
    )


class _Joined:
    """Several runs, which may have videos in common."""

    def __init__(self, runs: Sequence[Run], by: Unit, threshold: float) -> None:
        if not runs:
            raise ValueError("figures need at least one run")
        if by not in ("video", "group"):
            raise ValueError(f"by must be video or group, got {by!r}")
        self._samples = [Sample(run, threshold=threshold) for run in runs]
        keys = [[video.unit if by == "group" else video.name for video in run] for run in runs]
        ordinals = {key: n for n, key in enumerate(sorted({key for run in keys for key in run}))}
        self.units = len(ordinals)
        self._of_run = [np.array([ordinals[key] for key in run]) for run in keys]

    def figures(
        self, names: Sequence[str], copies: npt.NDArray[np.int64] | None
    ) -> dict[str, tuple[float | None, str, tuple[float | None, ...]]]:
        """Return for each name the mean over the runs that have it, why it has no value, and each run's value.

        Args:
            copies: int64 (units,); one of each if None.
        """
        drawn = [
            sample.drawn(None if copies is None else copies[own])
            for sample, own in zip(self._samples, self._of_run, strict=True)
        ]
        found = {}
        for name in names:
            each = [figure_of(draw, name) for draw in drawn]
            values = [figure.value for figure in each if figure.value is not None]
            mean = float(np.mean(values)) if values else None
            reason = "" if values else each[0].reason
            found[name] = (mean, reason, tuple(figure.value for figure in each))
        return found


def _paired(first: Sequence[Run], second: Sequence[Run]) -> tuple[Sequence[Run], Sequence[Run]]:
    count = max(len(first), len(second))
    first, second = (list(runs) * count if len(runs) == 1 else runs for runs in (first, second))
    if len(first) != len(second):
        raise ValueError(f"a comparison pairs runs: got {len(first)} and {len(second)}")
    for n, (one, other) in enumerate(zip(first, second, strict=True)):
        ours, theirs = ({(video.name, video.label, video.unit) for video in run} for run in (one, other))
        if ours != theirs:
            name = min(ours ^ theirs)[0]
            raise ValueError(f"run {n} was not scored on the same videos by both: {name} differs")
    return first, second


def _draws(units: int, draws: int, level: float, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the number of copies of each unit in a draw, ``draws`` times."""
    whole_number("draws", draws, least=1)
    share("level", level)
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, units, units), minlength=units)


def _interval(values: Sequence[float], level: float) -> Interval | None:
    tail = 50 * (1 - level)  # per cent at each end
    return Interval(*map(float, np.percentile(values, (tail, 100 - tail)))) if len(values) else None


def _rounded(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval.low, 4), round(interval.high, 4)]
