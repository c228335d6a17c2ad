"""An alert event as one line of text."""

from __future__ import annotations

from pipeline.alerts.event import AlertEvent
from pipeline.printable import printable


def describe(event: AlertEvent) -> str:
    """Return one line for a person.

    Characters that a terminal would interpret are escaped, because other programs may write to the topic too.
    """
    data = event.data
    peak = f"peak {data.peak.smoothed_score:.3f} at {_clock(data.peak.started_pts_seconds)}"
    shown = [
        f"{event.time:%Y-%m-%d %H:%M:%S}Z" if event.time else "(no wall clock)".ljust(20),
        f"{_clock(data.started_pts_seconds)}-{_clock(_latest_pts(event))}",
        data.camera if data.detector is None else f"{data.camera} ({data.detector})",
        data.state.upper().ljust(6),
        f"{peak} (opens at {data.threshold:g})",
    ]
    if data.end_reason is not None:
        shown.append(f"ended: {data.end_reason}")
    shown += data.evidence
    return printable("  ".join(shown))


def _latest_pts(event: AlertEvent) -> float:
    data = event.data
    if data.ended_pts_seconds is not None:
        return data.ended_pts_seconds
    return max((score.ended_pts_seconds for score in data.scores), default=data.peak.ended_pts_seconds)


def _clock(seconds: float) -> str:
    """Return seconds of a stream's clock as people read them: ``1:02:03.4``."""
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest / 10:04.1f}"
