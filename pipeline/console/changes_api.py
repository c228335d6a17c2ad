"""The HTTP API of changes of cameras: thresholds, zones and schedules; cameras added and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from starlette.requests import Request

from pipeline import logs
from pipeline.alerts.camera_report import CameraReport
from pipeline.console.alerts_api import acting_user
from pipeline.console.api import ConsoleParts
from pipeline.console.camera_book import Camera
from pipeline.console.change_documents import (
    CameraSettingsAnswer,
    ChangedSetting,
    LastChange,
    NewCamera,
    NewThreshold,
    NewZones,
    Sent,
)
from pipeline.console.changing import ChangeDesk, NotChangeableError
from pipeline.console.documents import Problem
from pipeline.live.audit import Change
from pipeline.live.change_log import ContendedCameraError
from pipeline.live.control import ControlError, UnknownCameraError
from pipeline.live.setting_changes import Changes
from pipeline.names import checked_name
from pipeline.sinks.kafka_broker import BrokerUnavailableError
from pipeline.sources.credentials import redact
from pipeline.zone_settings import ScheduleSettings

_log = logs.get("console")
#: Stands for the source of a camera in answers.
_NOT_SHOWN = "(not shown)"

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Not known, or just removed"}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    **_NOT_FOUND,
    409: {"model": Problem, "description": "The camera's workers take no changes"},
    422: {"model": Problem, "description": "The change cannot be used"},
    503: {"model": Problem, "description": "The broker does not take it now"},
}


def changes_router(parts: ConsoleParts) -> APIRouter:
    """Return the routes of changes. They answer when the broker has the change; the worker applies it afterwards."""
    router = APIRouter(prefix="/api/cameras", tags=["changes"])
    state = parts.state

    def change(name: str, request: Request, changes_of: Callable[[ChangeDesk, Camera], Changes]) -> Sent:
        with state.lock:
            camera = _camera(parts, name)
            desk = _desk(parts)
            changes = changes_of(desk, camera)
        user = acting_user(request)
        with _answered():
            return _sent(name, desk.change(camera, changes, user))

    @router.get("/{camera}/settings", summary="Thresholds, zones, schedule, and the last change", responses=_NOT_FOUND)
    def settings(camera: str) -> CameraSettingsAnswer:
        with state.lock:
            return _settings(parts, _camera(parts, camera))

    @router.put("/{camera}/thresholds", summary="Give a detector another threshold", responses=_PROBLEMS)
    def put_threshold(camera: str, wanted: NewThreshold, request: Request) -> Sent:
        def changes_of(desk: ChangeDesk, found: Camera) -> Changes:
            _check_detector(found, wanted.detector)
            return desk.threshold_changes(found, wanted.detector, wanted.open_threshold, wanted.close_threshold)

        return change(camera, request, changes_of)

    @router.delete("/{camera}/thresholds", summary="Give a detector its default threshold", responses=_PROBLEMS)
    def delete_threshold(camera: str, request: Request, detector: Annotated[str, Query(max_length=200)] = "") -> Sent:
        def changes_of(desk: ChangeDesk, found: Camera) -> Changes:
            _check_detector(found, detector)
            return desk.threshold_changes(found, detector, None, None)

        return change(camera, request, changes_of)

    @router.patch("/{camera}/zones", summary="Put and remove zones; the others stay", responses=_PROBLEMS)
    def patch_zones(camera: str, wanted: NewZones, request: Request) -> Sent:
        changes = {
            f"zones.{_zone_name(name)}": None if zone is None else zone.model_dump(mode="json", exclude_defaults=True)
            for name, zone in wanted.zones.items()
        }
        return change(camera, request, lambda _desk, _found: changes)

    @router.put("/{camera}/schedule", summary="Set the hours in which alerts matter", responses=_PROBLEMS)
    def put_schedule(camera: str, wanted: ScheduleSettings, request: Request) -> Sent:
        document = wanted.model_dump(mode="json", exclude_defaults=True)
        return change(camera, request, lambda _desk, _found: {"schedule": document})

    @router.delete("/{camera}/schedule", summary="Let alerts matter at all hours", responses=_PROBLEMS)
    def delete_schedule(camera: str, request: Request) -> Sent:
        return change(camera, request, lambda _desk, _found: {"schedule": None})

    @router.post("", summary="Add a camera", responses=_PROBLEMS)
    def add(wanted: NewCamera, request: Request) -> Sent:
        desk = _desk(parts)
        document = wanted.model_dump(include={"source", "username", "detectors"}, exclude_none=True)
        with _answered():
            return _sent(wanted.name, desk.add(wanted.name, document, wanted.by, acting_user(request)))

    @router.delete("/{camera}", summary="Remove a camera: no worker watches it any more", responses=_PROBLEMS)
    def remove(camera: str, request: Request) -> Sent:
        with state.lock:
            found = _camera(parts, camera)
        with _answered():
            return _sent(camera, _desk(parts).remove(found, acting_user(request)))

    return router


def _settings(parts: ConsoleParts, camera: Camera) -> CameraSettingsAnswer:
    """Return a camera's settings; with the state's lock held."""
    desk = parts.changes
    asked = None if desk is None else desk.asked(camera)
    wanted = (camera.report.settings if camera.report else None) or {} if desk is None else desk.wanted(camera)
    report = camera.report
    takes = "unknown" if report is None or report.takes_changes is None else report.takes_changes
    return CameraSettingsAnswer(
        camera=camera.name,
        is_known=(report is not None and report.settings is not None) or (asked is not None and not asked.removed),
        alerts=wanted.get("alerts", {}),
        detector_alerts=wanted.get("detector_alerts", {}),
        zones=wanted.get("zones", {}),
        schedule=wanted.get("schedule"),
        takes_changes=takes,
        last_change=None if asked is None or asked.change is None else _last(asked.change, report),
    )


def _last(change: Change, report: CameraReport | None) -> LastChange:
    seen = None if report is None else report.last_change
    state: Literal["in_force", "pending", "refused", "unknown"] = "pending"
    problem = None
    if report is not None and report.takes_changes is None:
        state = "unknown"
    elif seen is not None and (seen.by, seen.at) == (change.by, change.at):
        state = "in_force" if seen.problem is None else "refused"
        problem = None if seen.problem is None else redact(seen.problem)
    return LastChange(by=change.by, at=change.at, settings=_changed(change), state=state, problem=problem)


def _changed(change: Change) -> list[ChangedSetting]:
    names = {**change.before, **change.after}
    return [
        ChangedSetting(
            name=name, before=_shown(name, change.before.get(name)), after=_shown(name, change.after.get(name))
        )
        for name in names
    ]


def _shown(name: str, value: Any) -> Any:
    """Return a setting's value for a page. Any part of a source can be a secret: many cameras take a token as path."""
    if name == "source" and value is not None:
        return _NOT_SHOWN
    return redact(value) if isinstance(value, str) else value


def _sent(camera: str, change: Change) -> Sent:
    _log.info("change sent", camera=camera, settings=", ".join({**change.before, **change.after}), by=change.by)
    return Sent(camera=camera, by=change.by, at=change.at, settings=_changed(change))


def _camera(parts: ConsoleParts, name: str) -> Camera:
    camera = parts.state.cameras.get(name)
    if camera is None:
        raise HTTPException(404, f"camera {name[:80]}: not on the topics, or just removed")
    return camera


def _check_detector(camera: Camera, detector: str) -> None:
    known = {*camera.histories, *(camera.report.models if camera.report else ())}
    if detector not in known:
        names = ", ".join(filter(None, sorted(known))) or "none with a name"
        raise HTTPException(404, f"camera {camera.name}: no detector {detector[:80]!r} watches it; expected {names}")


def _desk(parts: ConsoleParts) -> ChangeDesk:
    if parts.changes is None:
        raise HTTPException(503, "the console has no connection to the broker, so nothing can be changed")
    return parts.changes


def _zone_name(name: str) -> str:
    try:
        return checked_name(name)
    except ValueError as error:
        raise HTTPException(422, f"zone {name[:80]!r}: {error}") from None


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Turn the errors of a change into answers, each one line."""
    try:
        yield
    except UnknownCameraError as error:
        raise HTTPException(404, _line(error)) from None
    except (NotChangeableError, ContendedCameraError) as error:
        raise HTTPException(409, _line(error)) from None
    except ControlError as error:
        raise HTTPException(422, _line(error)) from None
    except BrokerUnavailableError as error:
        raise HTTPException(503, _line(error)) from None


def _line(error: Exception) -> str:
    return redact(" ".join(str(error).split()))
