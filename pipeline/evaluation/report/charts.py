"""The charts of curves: drawing data for the template, and the table of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.report.data import Chart, Curve
from pipeline.evaluation.report.drawing import Axis, Tick, even_ticks, path, thinned
from pipeline.evaluation.report.writing import number

#: Size of a chart's drawing; it is scaled to the page, and about as wide as this on a phone.
WIDTH, HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
#: Points of a drawn line, and rows of its table.
_POINTS, _ROWS = 400, 100


@dataclass(frozen=True, slots=True)
class Mark:
    """The operating point of the run."""

    x: float
    y: float
    words: str


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """One line: its SVG path, its ordinal among the columns (for its colour) and its table."""

    name: str
    colour: int
    path: str
    mark: Mark | None
    rows: list[tuple[str, str, str]]  #: threshold, x, y
    left_out: int  #: number of points not in the table


@dataclass(frozen=True, slots=True)
class DrawnChart:
    """A chart drawn within ``width`` × ``height``, or the reason why there is none."""

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    curves: list[DrawnCurve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    reason: str = ""
    diagonal: str = ""  #: path of a random score
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def roc(chart: Chart, colours: dict[str, int]) -> DrawnChart:
    """Draw the ROC curve."""
    return _drawn(
        "roc",
        "ROC",
        "Share of abnormal frames flagged, against the share of normal frames flagged. The diagonal is a random score.",
        chart,
        colours,
        x=Axis(0, 1, _LEFT, WIDTH - _RIGHT),
        x_label="normal frames flagged, %",
        y_label="abnormal frames flagged, %",
        x_ticks=[0, 0.25, 0.5, 0.75, 1],
        diagonal=True,
    )


def roc_start(chart: Chart, colours: dict[str, int], most: float = 0.05) -> DrawnChart:
    """Draw the ROC curve's beginning, the range of acceptable false positives."""
    return _drawn(
        "roc-start",
        f"ROC, up to {100 * most:g} % false positives",
        "The beginning of the same curve: a curve with a large area may still find little here.",
        Chart([_until(curve, most) for curve in chart.curves], chart.reason),
        colours,
        x=Axis(0, most, _LEFT, WIDTH - _RIGHT),
        x_label="normal frames flagged, %",
        y_label="abnormal frames flagged, %",
        x_ticks=[0, 0.01, 0.02, 0.03, 0.04, 0.05],
        diagonal=True,
    )


def precision_recall(chart: Chart, colours: dict[str, int]) -> DrawnChart:
    """Draw the precision-recall curve."""
    return _drawn(
        "precision-recall",
        "Precision and recall",
        "Precision: share of flagged frames that are abnormal. Recall: share of abnormal frames that are flagged.",
        chart,
        colours,
        x=Axis(0, 1, _LEFT, WIDTH - _RIGHT),
        x_label="abnormal frames flagged (recall), %",
        y_label="flagged frames that are abnormal, %",
        x_ticks=[0, 0.25, 0.5, 0.75, 1],
    )


def alarms(chart: Chart, colours: dict[str, int], watched_hours: float | None) -> DrawnChart:
    """Draw event recall against false alarms an hour: the curve for choosing a threshold."""
    highest = max((float(np.max(curve.x)) for curve in chart.curves), default=0.0)
    lowest = min(1 / watched_hours, highest) if watched_hours and highest else highest
    unit = lowest or 1.0  # linear up to one false alarm in all of the footage, logarithmic above
    axis = Axis(0, highest or 1.0, _LEFT, WIDTH - _RIGHT, bend=lambda values: np.arcsinh(values / unit))
    decades = [10.0**power for power in range(-4, 6)]
    ticks = [0.0, *(value for value in decades if unit <= value <= highest)]
    if len(ticks) < 3:
        ticks = even_ticks(highest or 1.0, 4)
    return _drawn(
        "alarms",
        "Incidents found, and false alarms",
        "Each point is a threshold: a lower one finds more incidents and raises more false alarms. "
        "At very low thresholds alerts merge, so both may fall again. "
        f"{_threshold_count(chart)}",
        chart,
        colours,
        x=axis,
        x_label="false alarms per camera-hour",
        y_label="incidents found, %",
        x_ticks=ticks,
        x_text=lambda value: f"{value:g}",
    )


def _threshold_count(chart: Chart) -> str:
    """Return a sentence with the number of thresholds."""
    points = max((np.size(curve.x) for curve in chart.curves), default=0)
    if points < 2:
        return "The curve has one threshold." if points else ""
    return f"The curve has {points} thresholds, taken from the scores, with straight lines between them."


def _percent(value: float) -> str:
    return f"{100 * value:g}"


def _drawn(
    id: str,
    title: str,
    caption: str,
    chart: Chart,
    colours: dict[str, int],
    *,
    x: Axis,
    x_label: str,
    y_label: str,
    x_ticks: list[float],
    x_text: Callable[[float], str] = _percent,
    diagonal: bool = False,
) -> DrawnChart:
    y = Axis(0, 1, HEIGHT - _BOTTOM, _TOP)
    chance = path(x([x.low, x.high]), y([x.low, x.high])) if diagonal else ""
    return DrawnChart(
        id=id,
        title=title,
        caption=caption,
        x_label=x_label,
        y_label=y_label,
        curves=[_line(curve, colours.get(curve.name, 0), x, y) for curve in chart.curves],
        x_ticks=x.ticks(x_ticks, x_text),
        y_ticks=y.ticks([0, 0.25, 0.5, 0.75, 1], _percent),
        reason=chart.reason if not chart.curves else "",
        diagonal=chance,
    )


def _line(curve: Curve, colour: int, x: Axis, y: Axis) -> DrawnCurve:
    across, up = np.asarray(curve.x, np.float64), np.asarray(curve.y, np.float64)
    thresholds = None if curve.thresholds is None else np.asarray(curve.thresholds, np.float64)
    places = x(across), y(up)
    shown = thinned(*places, _POINTS, curve.at)
    listed = thinned(*places, _ROWS, curve.at)
    mark = None
    if curve.at is not None:
        at = "" if thresholds is None else f"threshold {number(thresholds[curve.at])}"
        mark = Mark(float(places[0][curve.at]), float(places[1][curve.at]), at)
    return DrawnCurve(
        name=curve.name,
        colour=colour,
        path=path(places[0][shown], places[1][shown]),
        mark=mark,
        rows=[("" if thresholds is None else number(thresholds[i]), number(across[i]), number(up[i])) for i in listed],
        left_out=len(across) - len(listed),
    )


def _until(curve: Curve, most: float) -> Curve:
    """Return a curve that rises (or falls) along x, cut at x = ``most``."""
    lines = [np.asarray(curve.x, np.float64), np.asarray(curve.y, np.float64)]
    if curve.thresholds is not None:
        lines.append(np.asarray(curve.thresholds, np.float64))
    at = curve.at
    if lines[0][0] > lines[0][-1]:
        lines = [line[::-1] for line in lines]
        at = None if at is None else len(lines[0]) - 1 - at
    across, up = lines[0], lines[1]
    inside = int(np.searchsorted(across, most, side="right"))
    kept = [line[: inside + 1].copy() for line in lines]
    if inside < len(across):
        kept[0][-1], kept[1][-1] = most, np.interp(most, across, up)
    return Curve(
        name=curve.name,
        x=kept[0],
        y=kept[1],
        thresholds=kept[2] if curve.thresholds is not None else None,
        at=at if at is not None and at < inside else None,
    )
