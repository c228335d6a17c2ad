"""The HTTP API of alerts, groups and judgements, and the files of the evidence."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from pipeline import logs
from pipeline.console.alert_book import AlertFilter
from pipeline.console.alert_entry import AlertEntry
from pipeline.console.api import ConsoleParts
from pipeline.console.describing import alert_summary, at
from pipeline.console.documents import (
    AlertDetail,
    AlertList,
    Film,
    Groups,
    GroupSummaryAnswer,
    JudgementSummary,
    NewJudgement,
    Problem,
    Published,
    Similar,
)
from pipeline.console.evidence_files import TYPES
from pipeline.console.stored_files import stored_file
from pipeline.errors import MistwatchError, UsageError
from pipeline.sinks.base import SinkUnavailableError

_log = logs.get("console")

_MOST_GROUPS = 500
_DAY_SECONDS = 86_400.0
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Not known"}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "It cannot be judged, or must be forced"},
    503: {"model": Problem, "description": "The broker does not take it now"},
}

AlertId = Annotated[str, Path(max_length=64, description="id of the alert, or its first characters")]


def alerts_router(parts: ConsoleParts) -> APIRouter:
    """Return the routes of alerts, groups and evidence."""
    router = APIRouter()
    state = parts.state

    @router.get("/api/alerts", tags=["alerts"], summary="List alerts, newest first")
    def alerts(
        since: Annotated[datetime | None, Query(description="began at or after this")] = None,
        until: Annotated[datetime | None, Query(description="began before this")] = None,
        camera: Annotated[str | None, Query()] = None,
        detector: Annotated[str | None, Query()] = None,
        place: Annotated[str | None, Query(description="part of its place, zones or thing")] = None,
        group: Annotated[str | None, Query(description="id of its group")] = None,
        judgement: Annotated[Literal["normal", "real", "none"] | None, Query()] = None,
        muted: Annotated[bool | None, Query()] = None,
        kind: Annotated[Literal["alert", "tamper", "drift"] | None, Query()] = None,
        is_open: Annotated[bool | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=100, description="`following` of the page before")] = None,
    ) -> AlertList:
        condition = AlertFilter(
            since=None if since is None else since.timestamp(),
            until=None if until is None else until.timestamp(),
            camera=camera or None,
            detector=detector or None,
            place=place or None,
            group=group or None,
            judgement=judgement,
            muted=muted,
            kind=kind,
            is_open=is_open,
        )
        with state.lock:
            now = state.clock()
            try:
                page = state.alerts.page(condition, now, limit=limit, cursor=cursor)
            except UsageError as error:
                raise HTTPException(422, str(error)) from None
            return AlertList(
                alerts=[alert_summary(state, entry, now) for entry in page.entries],
                following=page.following,
                known=len(state.alerts),
                forgotten=state.alerts.forgotten,
            )

    @router.get("/api/alerts/{alert_id}", tags=["alerts"], summary="Describe one alert", responses=_NOT_FOUND)
    def alert(alert_id: AlertId) -> AlertDetail:
        with state.lock:
            return alert_detail(parts, _entry(parts, alert_id))

    @router.post(
        "/api/alerts/{alert_id}/judgement",
        tags=["alerts"],
        summary="Judge an alert or its group",
        responses={**_NOT_FOUND, **_REFUSED},
    )
    def judge(alert_id: AlertId, wanted: NewJudgement, request: Request) -> Published:
        with state.lock:
            entry = _entry(parts, alert_id)
        if parts.desk is None:
            raise HTTPException(503, "the console has no connection to the broker, so nothing can be judged")
        if entry.kind != "alert":
            raise HTTPException(409, f"a {entry.kind} event has no likeness and cannot be judged")
        user = acting_user(request)
        try:
            event, reach = parts.desk.judge(entry, wanted)
        except UsageError as error:
            raise HTTPException(409, str(error)) from None
        except (SinkUnavailableError, MistwatchError) as error:
            raise HTTPException(503, str(error)) from None
        _log.info("judged", alert=entry.id, verdict=wanted.verdict, group=wanted.group, by=user)
        return Published(verdict=event.data.verdict, by=user, judgement_id=str(event.data.judgement_id), reach=reach)

    @router.get("/api/groups", tags=["groups"], summary="List groups of alike alerts, most recent first")
    def groups() -> Groups:
        with state.lock:
            return Groups(groups=_groups(parts))

    @router.get(
        "/evidence/{name:path}",
        tags=["evidence"],
        summary="A picture or film of an alert; ranges are served",
        response_class=Response,
        responses=_NOT_FOUND,
    )
    def evidence(
        name: str, wanted: Annotated[str | None, Header(alias="range", include_in_schema=False)] = None
    ) -> Response:
        path = parts.evidence.file(name)
        if path is None:
            if parts.evidence.store is not None and (key := parts.evidence.key(name)) is not None:
                return stored_file(parts.evidence.store, key, TYPES[PurePosixPath(key).suffix.lower()], wanted)
            raise HTTPException(404, "this evidence is gone: it was older than the site keeps it, or was never here")
        headers = {"cache-control": "private, max-age=300", "content-disposition": "inline"}
        return FileResponse(path, media_type=TYPES[path.suffix.lower()], headers=headers)

    return router


def acting_user(request: Request) -> str:
    """Return the name of the user that an outer layer has found; without one, the operator at this machine."""
    user: Any = request.scope.get("mistwatch.user")
    name = user.get("name") if isinstance(user, dict) else getattr(user, "name", None)
    return str(name) if name else "local operator"


def alert_detail(parts: ConsoleParts, entry: AlertEntry) -> AlertDetail:
    """Return one alert with everything that is known of it; with the state's lock held."""
    state = parts.state
    now = state.clock()
    event = json.loads(entry.raw)
    likeness = event["data"].get("likeness") or {}
    judgement = state.alerts.judgement(entry, now)
    flat = entry.scores
    return AlertDetail(
        alert=alert_summary(state, entry, now),
        end_reason=entry.end_reason,
        muted_note=entry.muted_note,
        model=entry.model,
        pictures=parts.evidence.pictures(entry.evidence),
        evidence=parts.evidence.state(entry.evidence),
        film=_film(parts, entry),
        scores=[(flat[place], flat[place + 1], flat[place + 2]) for place in range(0, len(flat), 3)],
        similar=[_similar(parts, one) for one in likeness.get("similar", [])],
        judgement=None
        if judgement is None
        else JudgementSummary(
            verdict=judgement.verdict,
            about=judgement.about,
            note=judgement.note,
            judged_at=judgement.judged_at,
            expires_at=judgement.expires_at,
        ),
        can_judge=entry.kind == "alert" and bool(likeness),
        event=event,
    )


def _entry(parts: ConsoleParts, alert_id: str) -> AlertEntry:
    entry = parts.state.alerts.named(alert_id)
    if entry is None:
        raise HTTPException(404, f"alert {alert_id}: not among the alerts that the console holds")
    return entry


def _film(parts: ConsoleParts, entry: AlertEntry) -> Film | None:
    film = entry.film
    if film is None or (url := parts.evidence.url(film["uri"])) is None:
        return None
    heat = film.get("notes")

    def number(name: str) -> float | None:
        value = film.get(name)
        return float(value) if isinstance(value, int | float) else None

    return Film(
        url=url,
        started_at=film.get("started_at"),
        seconds=number("seconds"),
        alert_starts_at_seconds=number("alert_starts_at_seconds"),
        heat=parts.evidence.url(heat) if isinstance(heat, str) else None,
    )


def _similar(parts: ConsoleParts, document: dict[str, Any]) -> Similar:
    known = parts.state.alerts.get(document["alert_id"])
    pictures = [] if known is None else parts.evidence.pictures(known.evidence)
    return Similar(
        id=document["alert_id"],
        camera=document["camera"],
        started_at=document["started_at"],
        similarity=document["similarity"],
        judgement=document["judgement"] if known is None else parts.state.alerts.verdict(known, parts.state.clock()),
        is_known=known is not None,
        picture=pictures[0] if pictures else None,
    )


def _groups(parts: ConsoleParts) -> list[GroupSummaryAnswer]:
    state = parts.state
    now = state.clock()
    members: dict[str, list[AlertEntry]] = {}
    for entry in state.alerts.entries():
        if entry.group is not None:
            members.setdefault(entry.group, []).append(entry)
    found = []
    for group, entries in list(members.items())[:_MOST_GROUPS]:
        judgement = state.alerts.group_judgement(group, now)
        shown = next((one for one in entries[:20] if parts.evidence.pictures(one.evidence)), entries[0])
        pictures = parts.evidence.pictures(shown.evidence)
        found.append(
            GroupSummaryAnswer(
                group=group,
                size=len(entries),
                cameras=sorted({one.camera for one in entries}),
                first_at=at(entries[-1].at),
                last_at=at(entries[0].at),
                last_day=sum(one.at >= now.timestamp() - _DAY_SECONDS for one in entries),
                judgement=None if judgement is None else judgement.verdict,
                note="" if judgement is None else judgement.note,
                example=alert_summary(state, shown, now),
                picture=pictures[0] if pictures else None,
            )
        )
    return found
