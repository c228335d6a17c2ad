"""An event as one line of text."""

from __future__ import annotations

from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event
from pipeline.printable import printable


def describe(event: Event) -> str:
    """Return one line for a person.

    Characters that a terminal would interpret are escaped, because other programs may write to the topic too.
    """
    return printable("  ".join(_of_drift(event) if isinstance(event, DriftEvent) else _of_alert(event)))


def _of_drift(event: DriftEvent) -> list[str]:
    data = event.data
    words = "no longer looks as it was learned" if data.state == "begin" else "drift is over"
    shown = [
        *_head(event, data.started_pts_seconds, data.last_pts_seconds),
        "DRIFT ",
        f"{words}: {data.share:.0%} of the clips are as rare as {data.learned_share:.0%} were",
    ]
    return shown if data.end_reason is None else [*shown, f"ended: {data.end_reason}"]


def _head(event: Event, started: float, latest: float) -> list[str]:
    """Return the wall-clock time, the time on the stream's clock, and the camera with its detector."""
    data = event.data
    return [
        f"{event.time:%Y-%m-%d %H:%M:%S}Z" if event.time else "(no wall clock)".ljust(20),
        f"{_clock(started)}-{_clock(latest)}",
        data.camera if data.detector is None else f"{data.camera} ({data.detector})",
    ]


def _of_alert(event: AlertEvent) -> list[str]:
    data = event.data
    peak = f"peak {data.peak.smoothed_score:.3f} at {_clock(data.peak.started_pts_seconds)}"
    shown = [
        *_head(event, data.started_pts_seconds, _latest_pts(event)),
        data.state.upper().ljust(6),
        f"{peak} (opens at {data.threshold:g})",
    ]
    if data.end_reason is not None:
        shown.append(f"ended: {data.end_reason}")
    return [*shown, *data.evidence]


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
