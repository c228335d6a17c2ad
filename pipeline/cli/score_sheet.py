"""A score sheet for people: the figures beside their targets, and the kinds of incident one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rich.console import Group
from rich.table import Table
from rich.text import Text

from operators.figures.events import Findings, Interval, ScoreSheet

NOTHING = "–"  #: shown for an undefined figure

Intervals = Mapping[str, Interval | None]
NO_INTERVALS: Intervals = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a figure: at least ``least``, at most ``most``; ``words`` replace the limits in the table."""

    least: float | None = None
    most: float | None = None
    words: str = ""

    def met(self, value: float | None) -> bool | None:
        """Return whether ``value`` meets the target; None without a value or a target."""
        if value is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _number(value: float) -> str:
    return f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class _Figure:
    """One of a sheet's figures: its attribute there, its label, and the format of its values."""

    name: str
    label: str
    write: Callable[[float], str]
    counts: Callable[[ScoreSheet], str] = lambda _sheet: ""  # numerator and denominator of a share


_FIGURES = (
    _Figure("recall", "incidents found", percent, lambda s: f"{s.found} of {s.incidents}"),
    _Figure("precision", "alerts about an incident", percent, lambda s: f"{s.alerts - s.false_alarms} of {s.alerts}"),
    _Figure("false_alarms", "false alarms", _number),
    _Figure("false_alarms_per_camera_hour", "false alarms per camera-hour", _number),
    _Figure("median_delay", "delay, median", _seconds),
    _Figure("p95_delay", "delay, 95th percentile", _seconds),
    _Figure("share_in_alert_outside", "time in alert outside incidents", percent),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure as text, with the numerator and denominator of a share.

    ``met``: whether it meets its target; None if it has no target or no value.
    """

    label: str
    value: str
    counts: str
    interval: str
    target: str
    met: bool | None


def lines(sheet: ScoreSheet, *, targets: Mapping[str, Target], intervals: Intervals) -> list[Line]:
    """Return a sheet's figures as text, in the order of a report.

    Args:
        targets: targets of figures, by the name of their attribute in :class:`ScoreSheet`; of some of them or none.
        intervals: intervals by the same names.

    Raises:
        ValueError: an unknown name.
    """
    if unknown := sorted({*targets, *intervals} - {figure.name for figure in _FIGURES}):
        raise ValueError(f"unknown figure {unknown[0]!r}: expected {', '.join(figure.name for figure in _FIGURES)}")
    written = []
    for figure in _FIGURES:
        value: float | None = getattr(sheet, figure.name)
        target = targets.get(figure.name, Target())
        written.append(
            Line(
                figure.label,
                _or_nothing(value, figure.write),
                figure.counts(sheet),
                _interval(intervals.get(figure.name), figure.write),
                target.words or _limits(target, figure.write),
                target.met(value),
            )
        )
    return written


@dataclass(frozen=True, slots=True)
class KindLine:
    """The figures of the incidents of one kind, as text."""

    kind: str
    found: str
    recall: str
    interval: str
    median_delay: str
    p95_delay: str


def kind_lines(sheet: ScoreSheet, *, intervals: Intervals) -> list[KindLine]:
    """Return the kinds of incident as text, the worst first. ``intervals``: of their recall, by kind."""
    return [
        KindLine(
            kind,
            f"{findings.found} of {findings.incidents}",
            _or_nothing(findings.recall, percent),
            _interval(intervals.get(kind), percent),
            _or_nothing(findings.median_delay, _seconds),
            _or_nothing(findings.p95_delay, _seconds),
        )
        for kind, findings in _worst_first(sheet)
    ]


def worst_kind(sheet: ScoreSheet) -> str | None:
    """Return the kind with the lowest recall, of equal ones that with the longest delay; None without incidents."""
    return next((kind for kind, _ in _worst_first(sheet)), None)


def tables(
    sheet: ScoreSheet,
    *,
    targets: Mapping[str, Target],
    intervals: Intervals = NO_INTERVALS,
    kind_intervals: Intervals = NO_INTERVALS,
) -> Group:
    """Return both tables for a terminal; without intervals they fit into 80 columns.

    Args:
        targets, intervals: see :func:`lines`.
        kind_intervals: see :func:`kind_lines`.
    """
    figures = _table("", "value", "", *(("95 % interval",) if intervals else ()), "target", "")
    for line in lines(sheet, targets=targets, intervals=intervals):
        verdict = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("")}[line.met]
        style = "bold red" if line.met is False else ""
        between = (line.interval,) if intervals else ()
        figures.add_row(line.label, Text(line.value, style), line.counts, *between, line.target, verdict)
    kinds = _table(
        "kind", "found", "recall", *(("95 % interval",) if kind_intervals else ()), "median", "95th percentile"
    )
    for kind in kind_lines(sheet, intervals=kind_intervals):
        between = (kind.interval,) if kind_intervals else ()
        kinds.add_row(kind.kind, kind.found, kind.recall, *between, kind.median_delay, kind.p95_delay)
    return Group(figures, Text(), kinds) if sheet.incidents else Group(figures)


def _table(*headers: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, header in enumerate(headers):
        table.add_column(header, justify="left" if place == 0 or header in ("target", "") else "right", no_wrap=True)
    return table


def _worst_first(sheet: ScoreSheet) -> list[tuple[str, Findings]]:
    def badness(kind: tuple[str, Findings]) -> tuple[float, float]:
        return kind[1].recall or 0.0, -(kind[1].median_delay or 0.0)

    return sorted(sheet.by_kind().items(), key=badness)


def _or_nothing(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None else write(value)


def _interval(interval: Interval | None, write: Callable[[float], str]) -> str:
    return "" if interval is None else f"{write(interval.low)} to {write(interval.high)}"


def _limits(target: Target, write: Callable[[float], str]) -> str:
    limits = (("at least", target.least), ("at most", target.most))
    return ", ".join(f"{words} {write(limit)}" for words, limit in limits if limit is not None)
