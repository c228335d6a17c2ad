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
from pipeline.evaluation.assessment import Assessment, Compared, Comparison
from pipeline.evaluation.judged import CAUSAL, COLUMNS, RAW
from pipeline.evaluation.report.data import FigureRow
from pipeline.evaluation.reported import described, rows
from pipeline.printable import printable

NOTHING = "–"

#: Columns of a terminal that shows a figure and its interval on one line.
WIDE = 100

#: So many videos, and so many notes, are named.
_NAMED = 20

#: Figures of which less is better.
_LESS = frozenset(
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
    """Every figure with its interval in every column, and why figures have no value.

    Args:
        wide: 100 columns; else an interval stands below its figure.
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
        parts.append(Text(f"\n{_counted(assessment.sheets[CAUSAL])}"))
    parts += _reasons(reasons)
    if not assessment.sheets:
        parts.append(Text(f"{NOTHING} alerts: {assessment.judged.no_alerts}", "dim"))
    return Group(*parts)


def comparison_tables(comparison: Comparison, names: tuple[str, str], *, wide: bool = True) -> Group:
    """Both sides' figures and their difference: of the raw scores, and of the alerts as they are raised live.

    Args:
        names: of the two sides.
        wide: see :func:`assessment_tables`.
    """
    shown = _table("", "A", "B", "A − B (95 %)", "better")
    tables: list[tuple[str, Sequence[FigureRow], Mapping[str, Compared]]] = [
        ("frames, raw scores", described("frames"), comparison.figures[RAW]),
        ("videos, raw scores", described("videos"), comparison.figures[RAW]),
    ]
    if comparison.alerts:
        tables.append(("alerts, as live", described("alerts"), comparison.alerts[CAUSAL]))
    reasons: dict[tuple[str, str], list[str]] = {}
    for title, figures, found in tables:
        shown.add_row(Text(title, "bold"))
        for row in figures:
            one = found[row.name]
            sides = (NOTHING if value is None else written(value, row) for value in (one.first, one.second))
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
    """Why figures have no value: by table and reason, the figures' labels."""
    return [
        Text(f"{NOTHING} {title}, {', '.join(labels)}: {printable(reason)}", "dim")
        for (title, reason), labels in found.items()
    ]


def _sentences(comparison: Comparison) -> list[str]:
    """What else is to be known; what holds for both sides once."""
    told = list(comparison.notes)
    sides = {"A": comparison.first, "B": comparison.second}
    for name, side in sides.items():
        if only := side.only:
            told.append(f"Only {name} has {len(only)}: {', '.join(only[:_NAMED])}{', …' if len(only) > _NAMED else ''}")
    notes: dict[str, list[str]] = {}
    for name, side in sides.items():
        for note in (*(f"left out is {one.name}: {one.reason}" for one in side.left_out), *side.notes):
            notes.setdefault(note, []).append(name)
    told += [f"{' and '.join(names)}: {note}" for note, names in list(notes.items())[:_NAMED]]
    return told + ([f"And {len(notes) - _NAMED} more notes, which --out keeps."] if len(notes) > _NAMED else [])


def _verdict(name: str, difference: Difference) -> Text:
    """Whose figure is better where the interval of the difference leaves no doubt."""
    if difference.value is None:
        return Text("")
    if not difference.excludes_zero:
        return Text("not told apart", "dim")
    first_is = (difference.value > 0) != (name in _LESS)
    return Text("A" if first_is else "B", "green")


def write_document(document: Mapping[str, Any], file: Path) -> None:
    """As JSON; it appears complete or not at all. Raises OSError."""
    draft = file.with_name(f".{file.name}.draft")
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        # A name from somebody's JSON may hold what UTF-8 does not: an escape of JSON's own stands for that.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _counted(sheet: ScoreSheet) -> str:
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
    shown = Text(written(value, row, sign))
    if interval is not None:
        low, high = (written(end, row, sign) for end in interval)
        shown.append(f"{' ' if wide else chr(10)}{low}{between}{high}", "dim")
    return shown


def written(value: float, row: FigureRow, sign: Literal["", "+"] = "") -> str:
    """A figure with its unit; ``sign``: also of what is above 0."""
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
