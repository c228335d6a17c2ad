"""An event as one line of text."""

from __future__ import annotations

from pipeline.alerts.drift import DriftEvent
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.judgement import JudgementEvent
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.printable import printable


def describe(event: Event) -> str:
    """Return one line for a person.

    Characters that a terminal would interpret are escaped, because other programs may write to the topic too.
    """
    match event:
        case DriftEvent():
            parts = _of_drift(event)
        case TamperEvent():
            parts = _of_tamper(event)
        case JudgementEvent():
            parts = _of_judgement(event)
        case AlertEvent():
            parts = _of_alert(event)
    return printable("  ".join(parts))


def _of_judgement(event: JudgementEvent) -> list[str]:
    data = event.data
    target = f"{data.about} {str(data.target)[:8]}"
    shown = [f"{data.judged_at:%Y-%m-%d %H:%M:%S}Z", event.subject, "JUDGED", f"{target}: {data.verdict}"]
    if data.verdict == "normal":
        shown.append(f"mutes alerts of similarity {data.similarity:g} and more")
    if data.expires_at is not None and data.verdict != "withdrawn":
        shown.append(f"until {data.expires_at:%Y-%m-%d %H:%M}Z")
    return [*shown, *filter(None, [data.note])]


def _of_drift(event: DriftEvent) -> list[str]:
    data = event.data
    words = "no longer looks as it was learned" if data.state == "begin" else "drift is over"
    shown = [
        *_head(event, data.started_pts_seconds, data.last_pts_seconds),
        "DRIFT ",
        f"{words}: {data.share:.0%} of the clips are as rare as {data.learned_share:.0%} were",
    ]
    return shown if data.end_reason is None else [*shown, f"ended: {data.end_reason}"]


def _of_tamper(event: TamperEvent) -> list[str]:
    data = event.data
    words = str(data.kind) if data.state == "begin" else f"{data.kind} is over"
    shown = [
        *_head(event, data.started_pts_seconds, data.last_pts_seconds),
        "TAMPER",
        f"{words}: measure {data.measure:.3g} (counts from {data.threshold:.3g})",
    ]
    return [*shown, *([] if data.end_reason is None else [f"ended: {data.end_reason}"]), *data.evidence]


def _head(event: AlertEvent | DriftEvent | TamperEvent, started: float, latest: float) -> list[str]:
    """Return the wall-clock time, the time on the stream's clock, and the camera with its detector."""
    detector = None if isinstance(event, TamperEvent) else event.data.detector  # it is the camera's
    return [
        f"{event.time:%Y-%m-%d %H:%M:%S}Z" if event.time else "(no wall clock)".ljust(20),
        f"{_clock(started)}-{_clock(latest)}",
        event.data.camera if detector is None else f"{event.data.camera} ({detector})",
    ]


def _of_alert(event: AlertEvent) -> list[str]:
    data = event.data
    peak = f"peak {data.peak.smoothed_score:.3f} at {_clock(data.peak.started_pts_seconds)}"
    shown = [
        *_head(event, data.started_pts_seconds, _latest_pts(event)),
        data.state.upper().ljust(6),
        f"{peak} (opens at {data.threshold:g})",
    ]
    if data.place is not None and data.place.words:
        shown.append(data.place.words)
    if data.likeness is not None:
        group = data.likeness.group
        shown.append(f"group {str(group.id)[:8]} of {group.size}")
    if data.zones:
        shown.append(f"in {', '.join(data.zones)}")
    if data.outside_schedule is not None:
        whose = ", ".join(data.outside_schedule) or "the camera"
        shown.append(f"muted: outside the schedule of {whose}")
    if data.muted_because is not None:
        shown.append(" ".join(filter(None, ["muted:", data.muted_because.note or "judged normal"])))
    if data.end_reason is not None:
        shown.append(f"ended: {data.end_reason}")
    if data.late:
        shown.append(f"late: of generation {data.generation}, which had the camera before")
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
