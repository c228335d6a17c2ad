"""Numbers and times as text for people."""

from __future__ import annotations

import math
from typing import Literal

from operators.figures.bootstrap import Estimate
from pipeline.evaluation.report.data import Unit

NOTHING = "–"  #: shown for an undefined figure
_NBSP = "\N{NO-BREAK SPACE}"  #: a unit stays with its number


def figure(value: float | None, unit: Unit) -> str:
    """Format a figure: ``0.870``, ``17.0 %``, ``2.25 s``, ``0.42 /h``, ``12``."""
    if value is None:
        return NOTHING
    if unit == "score":
        return f"{value:.3f}"
    if unit == "percent":
        return f"{100 * value:.1f}{_NBSP}%"
    if unit == "seconds":
        return f"{value:.2f}{_NBSP}s"
    return f"{value:.3g}{_NBSP}/h" if unit == "per_hour" else f"{value:,.0f}"


def interval(estimate: Estimate, unit: Unit) -> str:
    """Format an interval: ``0.81 to 0.93``, the unit once; "" without an interval."""
    if estimate.value is None or estimate.interval is None:
        return ""
    low, high = (figure(end, unit) for end in estimate.interval)
    return f"{low.split(_NBSP)[0]} to {high}"


def moment(position: float, unit: Literal["seconds", "frames"]) -> str:
    """Format a position on a video's axis: ``0:07.2``, ``1:02:03.0``, or ``frame 120``."""
    if unit == "frames":
        return f"frame {position:,.0f}"
    return clock(position, tenths=True)


def between(start: float, end: float, unit: Literal["seconds", "frames"]) -> str:
    """Format a range of a video's axis: ``0:07.2 to 0:09.0``, ``frames 120 to 160``."""
    if unit == "frames":
        return f"frames {start:,.0f} to {end:,.0f}"
    return f"{clock(start, tenths=True)} to {clock(end, tenths=True)}"


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Format a clock time: ``0:07``, ``1:02:03``; with ``tenths`` ``0:07.2``."""
    units = round(abs(seconds) * 10) if tenths else round(abs(seconds)) * 10
    minutes, rest = divmod(units, 600)
    hours, minutes = divmod(minutes, 60)
    last = f"{rest / 10:04.1f}" if tenths else f"{rest // 10:02d}"
    sign = "-" if seconds < 0 and units else ""
    return sign + (f"{hours}:{minutes:02d}:{last}" if hours else f"{minutes}:{last}")


def duration(seconds: float) -> str:
    """Format a duration for a sentence: ``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def number(value: float) -> str:
    """Format a number with four digits; infinity is ``∞``."""
    return f"{value:.4g}" if math.isfinite(value) else "∞"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Format a count: ``1 video``, ``2 videos``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
