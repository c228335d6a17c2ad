"""The tables of a report as text: figures at its head and in its columns, and the list of videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation.report import writing
from pipeline.evaluation.report.data import FigureRow, Timeline
from pipeline.evaluation.report.moments import Judged, incidents, thresholded_scores


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure at the head of the page; ``bar``: value, low and high in per cent of a bar's width."""

    label: str
    value: str
    interval: str
    column: str
    meaning: str
    bar: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in one column."""

    value: str
    interval: str
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A figure in all columns."""

    label: str
    meaning: str
    cells: list[Cell]
    reason: str  #: why it has no value in any column, if that is the same reason


@dataclass(frozen=True, slots=True)
class Row:
    """A video in the table of all videos."""

    name: str
    anchor: str
    label: str
    clips: int
    highest: str
    incidents: str
    alerts: str
    false: str
    note: str


def tiles(figures: Mapping[str, Sequence[FigureRow]]) -> list[Tile]:
    """Return the figures at the head; figures of the same name also name their table."""
    shown = [(title, row) for title, rows in figures.items() for row in rows if row.headline in row.values]
    names = Counter(row.label for _, row in shown)
    found = []
    for title, row in shown:
        estimate = row.values[row.headline]
        bar = None
        if estimate.value is not None and row.unit in ("score", "percent"):
            low, high = estimate.interval or (estimate.value, estimate.value)
            bar = (100 * estimate.value, 100 * low, 100 * high)
        found.append(
            Tile(
                label=f"{row.label}, {title}" if names[row.label] > 1 else row.label,
                value=writing.figure(estimate.value, row.unit),
                interval=writing.interval(estimate, row.unit) if estimate.value is not None else estimate.reason,
                column=row.headline,
                meaning=row.meaning,
                bar=bar,
            )
        )
    return found


def line(row: FigureRow, columns: Mapping[str, str]) -> Line:
    """Return a figure for the table, in the order of the columns."""
    cells = []
    for column in columns:
        if column not in row.values:
            cells.append(Cell("", "", ""))
        else:
            one = row.values[column]
            cells.append(Cell(writing.figure(one.value, row.unit), writing.interval(one, row.unit), one.reason))
    estimates = [row.values[column] for column in columns if column in row.values]
    reasons = {"" if one.value is not None else one.reason for one in estimates}
    return Line(row.label, row.meaning, cells, reasons.pop() if len(reasons) == 1 else "")


def row(video: Timeline, verdict: Judged, anchor: str) -> Row:
    """Return a video's row for the table of all; ``anchor``: its timeline's id, "" if it has none."""
    happened, scores = incidents(video), thresholded_scores(video)
    known = happened is not None and video.alerts is not None
    return Row(
        name=video.name,
        anchor=anchor,
        label={0: "normal", 1: "abnormal"}.get(-1 if video.label is None else video.label, ""),
        clips=len(scores),
        highest=f"{scores.max():.3f}" if len(scores) else writing.NOTHING,
        incidents="" if happened is None else f"{len(verdict.found)}/{len(happened)}" if known else str(len(happened)),
        alerts="" if video.alerts is None else str(len(video.alerts)),
        false=str(len(verdict.false)) if known else "",
        note=video.note,
    )
