"""The answers of the API about cameras and alerts, from the console's state. Callers hold its lock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.console.alert_entry import AlertEntry
from pipeline.console.camera_book import Camera
from pipeline.console.documents import AlertSummary, CameraSummary, DetectorSummary, PictureSummary
from pipeline.console.scores import ScoreHistory
from pipeline.console.state import ConsoleState, document_of
from pipeline.sources.credentials import redact

_SPARK_SECONDS, _SPARK_POINTS = 300.0, 60
#: An alert without an end is taken for open by its camera's report where that report came this much later, seconds.
_REPORT_SECONDS = 5.0
#: Share of the threshold from which on a camera is nearly unusual.
_NEARLY = 0.7


def moment(seconds: float | None) -> datetime | None:
    """Return seconds of the epoch as a time (UTC)."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def at(seconds: float) -> datetime:
    """Return seconds of the epoch as a time (UTC)."""
    return datetime.fromtimestamp(seconds, UTC)


def camera_summary(state: ConsoleState, camera: Camera, now: datetime) -> CameraSummary:
    """Return a camera's summary."""
    report = camera.report
    is_stale = camera.is_stale(now)
    running = [entry for entry in state.alerts.unended(camera.name) if is_running(state, entry)]
    alerts = [entry for entry in running if entry.kind == "alert"]
    tamper = [entry.headline for entry in running if entry.kind == "tamper"]
    drifted = any(entry.kind == "drift" for entry in running)
    detectors = [
        detector_summary(name, history, now, report.models.get(name, "") if report else "")
        for name, history in sorted(camera.histories.items())
    ]
    known = {one.detector for one in detectors}
    for name, model in sorted((report.models if report else {}).items()):
        if name not in known:
            detectors.append(detector_summary(name, ScoreHistory(), now, model))
    name = "unknown" if report is None else report.state
    return CameraSummary(
        site=report.site if report else next((one.site for one in camera.histories.values()), ""),
        camera=camera.name,
        state=name,
        is_stale=is_stale,
        is_live=name == "streaming" and not is_stale,
        reason=report.reason if report else None,
        message=redact(report.message) if report and report.message else None,
        worker=report.worker if report else None,
        since=report.since if report else None,
        reported_at=camera.reported_at,
        last_frame_at=report.last_frame_at if report else None,
        scored=report.clips.scored if report else 0,
        gated=report.clips.gated if report else 0,
        dropped=dict(report.clips.dropped) if report else {},
        open_alerts=[entry.id for entry in alerts],
        open_tamper=tamper,
        has_drifted=drifted,
        detectors=detectors,
        picture=picture_summary(camera, now),
        rank=_rank(alerts, tamper, is_stale, name, drifted, detectors),
    )


def _rank(
    alerts: list[AlertEntry],
    tamper: list[str],
    is_stale: bool,
    state: str,
    drifted: bool,
    detectors: list[DetectorSummary],
) -> int:
    """Return how unusual a camera is, in coarse steps, so that tiles do not dance."""
    if any(entry.muted is not True for entry in alerts):
        return 6
    if tamper:
        return 5
    if is_stale or state in ("failed", "stalled", "backing_off"):
        return 4
    if alerts:  # all of them muted
        return 3
    near = (
        one.smoothed is not None and one.threshold is not None and one.smoothed >= _NEARLY * one.threshold
        for one in detectors
    )
    return 2 if drifted or any(near) else 1 if state != "streaming" else 0


def detector_summary(name: str, history: ScoreHistory, now: datetime, model: str) -> DetectorSummary:
    """Return the summary of a detector on a camera."""
    newest, judged = history.newest, history.judged_by
    return DetectorSummary(
        detector=name,
        model=history.model or model,
        score=newest.score if newest else None,
        smoothed=newest.smoothed if newest else None,
        gated=newest.gated if newest else False,
        at=(newest.ended_at or newest.published_at) if newest else None,
        threshold=judged.open_threshold if judged else None,
        close_threshold=judged.close_threshold if judged else None,
        min_clips=judged.min_clips if judged else None,
        kernel=judged.kernel if judged else None,
        spark=spark(history, now),
    )


def spark(history: ScoreHistory, now: datetime) -> list[float | None]:
    """Return the greatest smoothed score of each 5 s of the last 5 minutes, oldest first; None without scores."""
    begin = now.timestamp() - _SPARK_SECONDS
    rows = history.tail(begin)
    bins: list[float | None] = [None] * _SPARK_POINTS
    if not len(rows):
        return bins
    places = np.clip((rows["at"] - begin) / (_SPARK_SECONDS / _SPARK_POINTS), 0, _SPARK_POINTS - 1).astype(int)
    most = np.full(_SPARK_POINTS, -1.0)
    np.maximum.at(most, places, rows["smoothed"])
    return [round(float(value), 3) if value >= 0 else None for value in most]


def picture_summary(camera: Camera, now: datetime) -> PictureSummary | None:
    """Return the summary of a camera's live picture; None: it has none."""
    if (picture := camera.picture) is None:
        return None
    header = picture.header
    return PictureSummary(
        at=header.received_at,
        is_stale=picture.is_stale(now),
        width=header.width,
        height=header.height,
        has_heat=header.heat is not None,
    )


def is_running(state: ConsoleState, entry: AlertEntry) -> bool:
    """Return whether an alert is open: it has no end, and its camera's later report does not contradict."""
    if not entry.is_open:
        return False
    camera = state.cameras.get(entry.camera)
    if entry.kind != "alert" or camera is None or camera.report is None or camera.reported_at is None:
        return True
    is_later = camera.reported_at.timestamp() > entry.updated_at + _REPORT_SECONDS
    return not is_later or entry.id in {str(one) for one in camera.report.open_alerts}


def alert_summary(state: ConsoleState, entry: AlertEntry, now: datetime) -> AlertSummary:
    """Return an alert's summary."""
    return AlertSummary(
        id=entry.id,
        kind=entry.kind,
        site=entry.site,
        camera=entry.camera,
        detector=entry.detector,
        at=at(entry.at),
        ended_at=moment(entry.ended_at),
        is_open=is_running(state, entry),
        is_late=entry.is_late,
        peak=entry.peak,
        threshold=entry.threshold,
        muted=entry.muted,
        headline=entry.headline,
        place=entry.place,
        zones=list(entry.zones),
        group=entry.group,
        judgement=state.alerts.verdict(entry, now),
        has_picture=bool(entry.evidence),
        has_film=entry.film is not None,
    )


def describe(state: ConsoleState, kind: str, name: str) -> dict[str, Any] | None:
    """Return the document of a camera or alert for the stream of updates; None: it is gone."""
    now = state.clock()
    if kind == "camera":
        camera = state.cameras.get(name)
        return None if camera is None else document_of(camera_summary(state, camera, now))
    entry = state.alerts.get(name)
    return None if entry is None else document_of(alert_summary(state, entry, now))
