"""Judgements for a terminal: figures in three columns, and the difference of two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from operators.events import Interval, ScoreSheet
from pipeline.evaluation.assessment import Assessment, Compared, Comparison
from pipeline.evaluation.bootstrap import Difference
from pipeline.evaluation.judged import CAUSAL, COLUMNS, RAW
from pipeline.evaluation.report.data import FigureRow
from pipeline.evaluation.reported import described, rows

NOTHING = "–"

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


def assessment_tables(assessment: Assessment) -> Group:
    """Every figure with its interval in every column, and why figures have no value."""
    shown = _table("", *COLUMNS)
    reasons: dict[str, list[str]] = {}
    for title, figures in rows(assessment).items():
        shown.add_row(Text(title, "bold"))
        for row in figures:
            cells = []
            for column in COLUMNS:
                one = row.values[column]
                cells.append(_value(one.value, one.interval, row))
                if one.value is None and row.label not in reasons.setdefault(one.reason, []):
                    reasons[one.reason].append(row.label)
            shown.add_row(f"  {row.label}", *cells)
    parts: list[RenderableType] = [shown]
    if assessment.sheets:
        parts.append(Text(f"\n{_counted(assessment.sheets[CAUSAL])}"))
    else:
        reasons[assessment.judged.no_alerts] = ["alerts"]
    for reason, labels in reasons.items():
        parts.append(Text(f"{NOTHING} {', '.join(labels)}: {reason}", "dim"))
    return Group(*parts)


def comparison_tables(comparison: Comparison, names: tuple[str, str]) -> Group:
    """Both sides' figures and their difference: of the raw scores, and of the alerts as they are raised live.

    Args:
        names: of the two sides.
    """
    first, second = names
    shown = _table("", first, second, "difference (95 %)", "better")
    tables: list[tuple[str, Sequence[FigureRow], Mapping[str, Compared]]] = [
        ("frames, raw scores", described("frames"), comparison.figures[RAW]),
        ("videos, raw scores", described("videos"), comparison.figures[RAW]),
    ]
    if comparison.alerts:
        tables.append(("alerts, as live", described("alerts"), comparison.alerts[CAUSAL]))
    reasons: dict[str, list[str]] = {}
    for title, figures, found in tables:
        shown.add_row(Text(title, "bold"))
        for row in figures:
            one = found[row.name]
            sides = (NOTHING if value is None else written(value, row) for value in (one.first, one.second))
            difference = one.difference
            if difference.value is None:
                reasons.setdefault(difference.reason, []).append(row.label)
            shown.add_row(
                f"  {row.label}", *sides, _value(difference.value, difference.interval, row, signed=True),
                _verdict(row.name, difference, names),
            )  # fmt: skip
    parts: list[RenderableType] = [shown, Text(f"\n{comparison.videos} videos in both.")]
    for name, only in ((first, comparison.only_first), (second, comparison.only_second)):
        if only:
            parts.append(Text(f"Only {name} has {len(only)}: {', '.join(only[:5])}{', …' if len(only) > 5 else ''}"))
    parts += [Text(f"{NOTHING} {', '.join(labels)}: {reason}", "dim") for reason, labels in reasons.items()]
    return Group(*parts)


def _verdict(name: str, difference: Difference, names: tuple[str, str]) -> Text:
    """Whose figure is better where the interval of the difference leaves no doubt."""
    if difference.value is None:
        return Text("")
    if not difference.excludes_zero:
        return Text("not told apart", "dim")
    first_is = (difference.value > 0) != (name in _LESS)
    return Text(names[0] if first_is else names[1], "green")


def write_document(document: Mapping[str, Any], file: Path) -> None:
    """As JSON; it appears complete or not at all. Raises OSError."""
    draft = file.with_name(f".{file.name}.draft")
    try:
        draft.write_text(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _counted(sheet: ScoreSheet) -> str:
    hours = sheet.camera_seconds / 3600
    return (
        f"Alerts as live: {sheet.found} of {sheet.incidents} incidents found, {sheet.alerts} alerts, "
        f"{sheet.false_alarms} of them false, in {hours:.3g} h of footage."
    )


def _value(value: float | None, interval: Interval | None, row: FigureRow, *, signed: bool = False) -> Text:
    if value is None:
        return Text(NOTHING, "dim")
    sign: Literal["", "+"] = "+" if signed else ""
    between = " to " if signed else "–"
    shown = Text(written(value, row, sign))
    if interval is not None:
        low, high = (written(end, row, sign) for end in interval)
        shown.append(f" {low}{between}{high}", "dim")
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
