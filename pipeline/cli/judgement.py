"""Judgements for a terminal: figures in three columns, and the difference of two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from operators.figures.bootstrap import Difference
from operators.figures.events import Interval, ScoreSheet
from pipeline import files
from pipeline.evaluation.assessment import Assessment, Compared, Comparison
from pipeline.evaluation.judged import CAUSAL, COLUMNS, RAW
from pipeline.evaluation.report.data import FigureRow
from pipeline.evaluation.reported import figure_rows, rows
from pipeline.printable import printable

NOTHING = "–"

#: Columns of a terminal that shows a figure and its interval on one line.
WIDE = 100

#: Number of videos, and of notes, that are listed.
_NAMED = 20

#: Figures for which lower is better.
_LOWER_IS_BETTER = frozenset(
    {
        "frame_eer",
        "far_normal",
        "far_abnormal",
        "false_alarms_per_camera_hour",
        "median_delay",
        "p95_delay",
        "share_in_alert_outside",
    }
)


def assessment_tables(assessment: Assessment, *, wide: bool = True) -> Group:
    """Return every figure with its interval in every column, and the reasons for missing values.

    Args:
        wide: for 100 columns; else an interval is below its figure.
    """
    shown = _table("", *COLUMNS)
    reasons: dict[tuple[str, str], list[str]] = {}
    for title, figures in rows(assessment).items():
        shown.add_row(Text(title, "bold"))
        for row in figures:
            values = [row.values.get(column) for column in COLUMNS]
            cells = ("" if one is None else _value(one.value, one.interval, row, wide=wide) for one in values)
            shown.add_row(f"  {row.label}", *cells)
            for reason in {one.reason for one in values if one is not None and one.value is None}:
                reasons.setdefault((title, reason), []).append(row.label)
    parts: list[RenderableType] = [shown]
    if assessment.sheets:
        parts.append(Text(f"\n{_alert_summary(assessment.sheets[CAUSAL])}"))
    parts += _reasons(reasons)
    if not assessment.sheets:
        parts.append(Text(f"{NOTHING} alerts: {assessment.judged.no_alerts}", "dim"))
    return Group(*parts)


def comparison_tables(comparison: Comparison, names: tuple[str, str], *, wide: bool = True) -> Group:
    """Return both sides' figures and their differences, for the raw scores and for the alerts as live.

    Args:
        wide: see :func:`assessment_tables`.
    """
    shown = _table("", "A", "B", "A − B (95 %)", "better")
    tables: list[tuple[str, Sequence[FigureRow], Mapping[str, Compared]]] = [
        ("frames, raw scores", figure_rows("frames"), comparison.figures[RAW]),
        ("videos, raw scores", figure_rows("videos"), comparison.figures[RAW]),
    ]
    if comparison.alerts:
        tables.append(("alerts, as live", figure_rows("alerts"), comparison.alerts[CAUSAL]))
    if RAW in comparison.pixels:
        tables.append(("pixels, raw scores", figure_rows("pixels"), comparison.pixels[RAW]))
    reasons: dict[tuple[str, str], list[str]] = {}
    for title, figures, found in tables:
        shown.add_row(Text(title, "bold"))
        for row in figures:
            one = found[row.name]
            sides = (NOTHING if value is None else format_figure(value, row) for value in (one.first, one.second))
            difference = one.difference
            if difference.value is None:
                reasons.setdefault((title, difference.reason), []).append(row.label)
            shown.add_row(
                f"  {row.label}", *sides, _value(difference.value, difference.interval, row, signed=True, wide=wide),
                _verdict(row.name, difference),
            )  # fmt: skip
    sides = (f"{side}: {printable(name)}" for side, name in zip("AB", names, strict=True))
    parts: list[RenderableType] = [shown, Text("\n".join(["", *sides, f"{comparison.videos} videos in both."]))]
    parts += [Text(printable(one)) for one in _sentences(comparison)]
    return Group(*parts, *_reasons(reasons))


def _reasons(found: Mapping[tuple[str, str], Sequence[str]]) -> list[Text]:
    """Return the reasons for missing values, with the figures' labels by table and reason."""
    return [
        Text(f"{NOTHING} {title}, {', '.join(labels)}: {printable(reason)}", "dim")
        for (title, reason), labels in found.items()
    ]


def _sentences(comparison: Comparison) -> list[str]:
    """Return the notes of a comparison; notes of both sides appear once."""
    lines = list(comparison.notes)
    sides = {"A": comparison.first, "B": comparison.second}
    for name, side in sides.items():
        if only := side.only:
            lines.append(
                f"Only {name} has {len(only)}: {', '.join(only[:_NAMED])}{', …' if len(only) > _NAMED else ''}"
            )
    notes: dict[str, list[str]] = {}
    for name, side in sides.items():
        for note in (*(f"left out is {one.name}: {one.reason}" for one in side.left_out), *side.notes):
            notes.setdefault(note, []).append(name)
    lines += [f"{' and '.join(names)}: {note}" for note, names in list(notes.items())[:_NAMED]]
    return lines + ([f"And {len(notes) - _NAMED} more notes; --out keeps them."] if len(notes) > _NAMED else [])


def _verdict(name: str, difference: Difference) -> Text:
    """Return the side with the better figure if the interval of the difference excludes 0."""
    if difference.value is None:
        return Text("")
    if not difference.excludes_zero:
        return Text("undecided", "dim")
    first_is = (difference.value > 0) != (name in _LOWER_IS_BETTER)
    return Text("A" if first_is else "B", "green")


def write_document(document: Mapping[str, Any], file: Path) -> None:
    """Write a document as JSON, in full or not at all. Raises OSError."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    # A name from another program's JSON may contain what UTF-8 cannot encode: it is written as an escape.
    files.write_bytes(file, text.encode("utf-8", errors="backslashreplace"))


def _alert_summary(sheet: ScoreSheet) -> str:
    hours = sheet.camera_seconds / 3600
    return (
        f"Alerts as live: {sheet.found} of {sheet.incidents} incidents found, {sheet.alerts} alerts, "
        f"{sheet.false_alarms} of them false, in {hours:.3g} h of footage."
    )


def _value(value: float | None, interval: Interval | None, row: FigureRow, *, wide: bool, signed: bool = False) -> Text:
    if value is None:
        return Text(NOTHING, "dim")
    sign: Literal["", "+"] = "+" if signed else ""
    between = "\u00a0to\u00a0" if signed else "–"
    shown = Text(format_figure(value, row, sign))
    if interval is not None:
        low, high = (format_figure(end, row, sign) for end in interval)
        shown.append(f"{' ' if wide else chr(10)}{low}{between}{high}", "dim")
    return shown


def format_figure(value: float, row: FigureRow, sign: Literal["", "+"] = "") -> str:
    """Format a figure with its unit; ``sign`` "+" also marks positive values."""
    match row.unit:
        case "percent":
            return f"{100 * value:{sign}.1f}%"
        case "seconds":
            return f"{value:{sign}.2f}s"
        case "per_hour":
            return f"{value:{sign}.3g}/h"
        case "count":
            return f"{value:{sign}.0f}"
        case _:
            return f"{value:{sign}.3f}"


def _table(*headers: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place else "left", no_wrap=not place)
    return table
