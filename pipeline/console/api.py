"""The HTTP API: cameras, scores, pictures, groups, health and the stream of updates; alerts are in ``alerts_api``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Response
from starlette.requests import Request

from pipeline.console.alert_book import AlertFilter
from pipeline.console.camera_book import Camera
from pipeline.console.changing import ChangeDesk
from pipeline.console.describing import alert_summary, at, camera_summary, is_running, moment
from pipeline.console.documents import (
    CameraAlert,
    Cameras,
    CameraSummary,
    Counted,
    Health,
    LivePictureAnswer,
    Problem,
    Scores,
    WhatIfAnswer,
    WorkerHealth,
    WouldBeAlert,
)
from pipeline.console.event_stream import STUCK_SECONDS, EventStream
from pipeline.console.evidence_files import EvidenceFiles
from pipeline.console.judging import JudgementDesk
from pipeline.console.readers import Readers
from pipeline.console.scores import ScoreHistory, decimated
from pipeline.console.state import ConsoleState
from pipeline.console.what_if import WhatIf, settings_with, what_if

__all__ = ["ConsoleParts", "alert_summary", "api_router"]

#: Most browsers that may listen at once.
MOST_STREAMS = 500
_MOST_ALERTS_OF_A_TIMELINE = 500
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Not known"}}

CameraName = Annotated[str, Query(description="camera")]
Detector = Annotated[str, Query(description="detector; empty where the site names none")]
Hours = Annotated[float, Query(gt=0, le=48, description="length of the history")]


@dataclass(slots=True)
class ConsoleParts:
    """All that the routes need.

    Attributes:
        readers: None in tests without a broker.
        desk: None: nothing can be judged.
        changes: None: nothing can be changed.
        users_file: of the console's users; None for a console without one.
        stuck_seconds: a browser that takes nothing for so long is disconnected.
    """

    state: ConsoleState
    evidence: EvidenceFiles
    readers: Readers | None = None
    desk: JudgementDesk | None = None
    changes: ChangeDesk | None = None
    users_file: Path | None = None
    stopping: Event = field(default_factory=Event)
    streams: int = 0
    stuck_seconds: float = STUCK_SECONDS


def api_router(parts: ConsoleParts) -> APIRouter:
    """Return the routes of cameras, health and updates."""
    router = APIRouter(prefix="/api")
    state = parts.state

    @router.get("/cameras", tags=["cameras"], summary="List all cameras")
    def cameras() -> Cameras:
        with state.lock:
            now = state.clock()
            summaries = [camera_summary(state, camera, now) for camera in state.cameras.all()]
        return Cameras(cameras=summaries, takes_new=parts.changes is not None and parts.changes.has_topic)

    @router.get("/cameras/{camera}", tags=["cameras"], summary="Describe one camera", responses=_NOT_FOUND)
    def camera(camera: str) -> CameraSummary:
        with state.lock:
            return camera_summary(state, _camera(state, camera), state.clock())

    @router.get("/cameras/{camera}/scores", tags=["cameras"], summary="Score timeline", responses=_NOT_FOUND)
    def scores(
        camera: str,
        detector: Detector = "",
        hours: Hours = 6.0,
        points: Annotated[int, Query(ge=10, le=5000, description="most points of the curve")] = 1000,
    ) -> Scores:
        with state.lock:
            now = state.clock()
            history = _history(_camera(state, camera), detector)
            since = now - timedelta(hours=hours)
            rows = history.rows(since.timestamp())
            oldest = history.rows()["at"][:1]
            alerts = _alerts_of(state, camera, detector, since)
            judged = history.judged_by
        times, most, least = decimated(rows, points)
        return Scores(
            camera=camera,
            detector=detector,
            since=since,
            until=now,
            times=times,
            most=most,
            least=least,
            threshold=judged.open_threshold if judged else None,
            close_threshold=judged.close_threshold if judged else None,
            alerts=alerts,
            known_since=at(float(oldest[0])) if len(oldest) else None,
            gaps=int(rows["gap"].sum()),
        )

    @router.get(
        "/cameras/{camera}/what-if",
        tags=["cameras"],
        summary="Count the alerts of another threshold",
        responses={**_NOT_FOUND, 409: {"model": Problem, "description": "No settings are known yet"}},
    )
    def count_what_if(
        camera: str,
        threshold: Annotated[float, Query(gt=0, le=1, description="smoothed score at or above which an alert opens")],
        detector: Detector = "",
        hours: Hours = 6.0,
    ) -> WhatIfAnswer:
        with state.lock:
            history = _history(_camera(state, camera), detector)
            rows = history.rows((state.clock() - timedelta(hours=hours)).timestamp())
            judged = history.judged_by
        if judged is None:
            raise HTTPException(409, f"camera {camera}: its worker has not published what judges its scores yet")
        would_be, present = (
            what_if(rows, settings_with(judged, value), max_hole=judged.max_hole, camera=camera)
            for value in (threshold, judged.open_threshold)
        )
        return WhatIfAnswer(
            camera=camera,
            detector=detector,
            hours=round(would_be.hours, 4),
            clips=would_be.clips,
            gaps=would_be.gaps,
            would_be=_counted(would_be),
            present=_counted(present),
        )

    @router.get("/cameras/{camera}/picture", tags=["cameras"], summary="Live picture", responses=_NOT_FOUND)
    def picture(camera: str) -> LivePictureAnswer:
        with state.lock:
            seen = _camera(state, camera).picture
            if seen is None:
                raise HTTPException(404, f"camera {camera}: no live picture; set kafka.pictures_topic to have some")
            header = seen.header
            stamp = int(header.received_at.timestamp() * 1000)
            return LivePictureAnswer(
                camera=camera,
                at=header.received_at,
                is_stale=seen.is_stale(state.clock()),
                width=header.width,
                height=header.height,
                url=f"/api/cameras/{camera}/picture.jpg?at={stamp}",
                heat=header.heat,
            )

    @router.get(
        "/cameras/{camera}/picture.jpg",
        tags=["cameras"],
        summary="The JPEG of the live picture",
        response_class=Response,
        responses={**_NOT_FOUND, 200: {"content": {"image/jpeg": {}}}},
    )
    def jpeg(camera: str) -> Response:
        with state.lock:
            seen = _camera(state, camera).picture
            if seen is None:
                raise HTTPException(404, f"camera {camera}: no live picture")
            return Response(seen.jpeg, media_type="image/jpeg", headers={"cache-control": "no-store"})

    @router.get("/health", tags=["health"], summary="State of the topics, workers and cameras")
    def health() -> Health:
        return describe_health(parts)

    @router.get(
        "/stream",
        tags=["updates"],
        summary="Updates as server-sent events",
        description="Events: hello, camera, alert, tick (scores and pictures), judged, topics, gone, reload, resync. "
        "Connect again with Last-Event-ID to resume; after resync or reload, load everything again.",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}, 503: {"model": Problem, "description": "Too many"}},
    )
    async def stream(request: Request, last_event_id: Annotated[str | None, Header(max_length=60)] = None) -> Response:
        if parts.streams >= MOST_STREAMS:
            raise HTTPException(503, f"{MOST_STREAMS} browsers listen already; close some pages")
        return _Stream(parts, last_event_id)

    return router


class _Stream(Response):
    """An :class:`EventStream` that counts."""

    def __init__(self, parts: ConsoleParts, last_event_id: str | None) -> None:
        super().__init__()
        self._parts = parts
        self._stream = EventStream(
            parts.state.hub, last_event_id, is_over=parts.stopping.is_set, stuck_seconds=parts.stuck_seconds
        )

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        self._parts.streams += 1
        try:
            await self._stream(scope, receive, send)
        finally:
            self._parts.streams -= 1


def describe_health(parts: ConsoleParts) -> Health:
    """Return the state of the console and of what it sees."""
    state = parts.state
    with state.lock:
        now = state.clock()
        cameras = state.cameras.all()
        states: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        models: Counter[str] = Counter()
        workers: dict[str, list[tuple[bool, datetime]]] = {}
        for camera in cameras:
            report, is_stale = camera.report, camera.is_stale(now)
            states["stale" if is_stale and report else report.state if report else "unknown"] += 1
            if report is None or camera.reported_at is None:
                continue
            dropped.update(report.clips.dropped)
            models.update(set(report.models.values()))
            workers.setdefault(report.worker, []).append((is_stale, camera.reported_at))
        reports = [camera.report for camera in cameras if camera.report is not None]
        running = [one for camera in cameras for one in state.alerts.unended(camera.name) if is_running(state, one)]
        return Health(
            topics=parts.readers.health() if parts.readers else [],
            workers=[
                WorkerHealth(
                    worker=worker,
                    cameras=len(seen),
                    stale=sum(is_stale for is_stale, _ in seen),
                    last_report_at=max(moment for _, moment in seen),
                )
                for worker, seen in sorted(workers.items())
            ],
            cameras_by_state=dict(states),
            dropped=dict(dropped),
            scored=sum(report.clips.scored for report in reports),
            gated=sum(report.clips.gated for report in reports),
            models=dict(models),
            alerts=len(state.alerts),
            open_alerts=len(running),
            now=now,
        )


def _camera(state: ConsoleState, name: str) -> Camera:
    camera = state.cameras.get(name)
    if camera is None:
        raise HTTPException(404, f"camera {name[:80]}: not on the topics; is its worker running?")
    return camera


def _history(camera: Camera, detector: str) -> ScoreHistory:
    history = camera.histories.get(detector)
    if history is not None:
        return history
    known = ", ".join(filter(None, camera.histories)) or "none yet"
    raise HTTPException(404, f"camera {camera.name}: no scores of detector {detector[:80]!r}; known: {known}")


def _alerts_of(state: ConsoleState, camera: str, detector: str, since: datetime) -> list[CameraAlert]:
    condition = AlertFilter(since=since.timestamp(), camera=camera, detector=detector or None, kind="alert")
    page = state.alerts.page(condition, state.clock(), limit=_MOST_ALERTS_OF_A_TIMELINE)
    return [
        CameraAlert(
            id=entry.id,
            started_at=at(entry.at),
            ended_at=moment(entry.ended_at),
            peak=entry.peak,
            muted=entry.muted,
        )
        for entry in page.entries
    ]


def _counted(found: WhatIf) -> Counted:
    return Counted(
        threshold=found.open_threshold,
        close_threshold=round(found.close_threshold, 6),
        count=len(found.alerts),
        per_hour=None if found.per_hour is None else round(found.per_hour, 3),
        alerts=[
            WouldBeAlert(
                started_at=at(one.started_at), ended_at=at(one.ended_at), peak=round(one.peak, 6), is_open=one.is_open
            )
            for one in found.alerts[-500:]
        ],
    )
