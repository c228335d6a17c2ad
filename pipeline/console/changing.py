"""Sends changes of cameras from the console, as ``mistwatch changes`` and ``mistwatch cameras`` do."""

from __future__ import annotations

import threading
from typing import Any

from pipeline.console.camera_book import Camera
from pipeline.console.change_book import SHOWN, Asked
from pipeline.console.state import ConsoleState
from pipeline.console.what_if import settings_with
from pipeline.errors import MistwatchError
from pipeline.live.audit import Change, new_change
from pipeline.live.control import UnknownCameraError
from pipeline.live.control_topic import change_camera, put_camera, remove_camera
from pipeline.live.setting_changes import Changes
from pipeline.live.site_changes import change_site_camera
from pipeline.settings import CameraSettings
from pipeline.sinks.compacted_topic import CompactedTopic

#: Stands for the source of a camera, which the console does not know: changes of it are not checked here.
_ANY_SOURCE, _ANY_USER = "rtsp://192.0.2.1/", "unknown"
_CLOSE_SECONDS = 1.0


class NotChangeableError(MistwatchError):
    """The workers of a camera take no changes, or it is not known which do. One line."""


class ChangeDesk:
    """Sends changes of cameras that the console knows. Thread-safe; one change at a time.

    Args:
        site: its site's name, where the console serves one site alone.
        changes: topic of changes to a site's file; None: its workers take none.
        control: topic of a group's cameras; None: the site has no group.
    """

    def __init__(
        self, state: ConsoleState, changes: CompactedTopic | None, control: CompactedTopic | None, site: str | None
    ) -> None:
        self._state = state
        self._changes = changes
        self._control = control
        self._site = site
        self._lock = threading.Lock()

    @property
    def has_topic(self) -> bool:
        """Return whether changes can be sent at all: to workers of a site's file, or to a group."""
        return self._changes is not None or self._control is not None

    def close(self) -> None:
        """End the connections."""
        for topic in filter(None, (self._changes, self._control)):
            topic.close(_CLOSE_SECONDS)

    def asked(self, camera: Camera) -> Asked | None:
        """Return the newest message about a camera. The caller holds the state's lock."""
        if way_of(camera) == "group":
            return self._state.changes.of_group(camera.name)
        return None if camera.report is None else self._state.changes.of_site(camera.report.site, camera.name)

    def wanted(self, camera: Camera) -> dict[str, Any]:
        """Return the shown settings of a camera, changes that are not in force yet included. As :meth:`asked`."""
        in_force = (camera.report.settings if camera.report else None) or {}
        asked = self.asked(camera)
        return in_force if asked is None or asked.removed else asked.wanted(in_force)

    def threshold_changes(self, camera: Camera, detector: str, opens: float | None, closes: float | None) -> Changes:
        """Return the changes that give a detector of a camera another threshold. As :meth:`asked`.

        Args:
            opens: None: the default again.
            closes: None: the present share of the open one.
        """
        history = camera.histories.get(detector)
        if opens is not None and closes is None and history is not None and history.judged_by is not None:
            closes = round(settings_with(history.judged_by, opens).close_threshold, 6)
        thresholds = {"open_threshold": opens, "close_threshold": closes}
        if not detector:
            return {f"alerts.{name}": value for name, value in thresholds.items()}
        own = {**self.wanted(camera).get("detector_alerts", {}).get(detector, {}), **thresholds}
        return {f"detector_alerts.{detector}": {key: value for key, value in own.items() if value is not None} or None}

    def change(self, camera: Camera, changes: Changes, by: str) -> Change:
        """Send changes of a camera; return what was before and is after.

        Raises:
            UnknownCameraError: it is not there any more.
            ControlError: the changes cannot be used.
            NotChangeableError: its workers take no changes.
            BrokerUnavailableError: they are not sent.
        """
        with self._lock:
            topic = self._topic(camera)
            if topic is self._control:
                return change_camera(topic, camera.name, changes, by=by)
            assert camera.report is not None
            known = _known(camera.report.settings)
            site = camera.report.site
            return change_site_camera(topic, site, camera.name, changes, file=known, by=by, revives=False)

    def remove(self, camera: Camera, by: str) -> Change:
        """Have a camera watched no longer. Raises as :meth:`change`."""
        with self._lock:
            topic = self._topic(camera)
            if topic is not self._control:
                assert camera.report is not None
                return change_site_camera(topic, camera.report.site, camera.name, None, by=by)
            if not remove_camera(topic, camera.name, by=by):
                raise UnknownCameraError(f"camera {camera.name}: unknown, or just removed")
            return new_change(by, {"removed": False}, {"removed": True})

    def add(self, name: str, document: dict[str, Any], way: str | None, by: str) -> Change:
        """Have a camera watched that the console does not know.

        Args:
            document: its settings, as under ``cameras:`` in a site's file.
            way: site or group; None: as the cameras that are known.

        Raises:
            ControlError: its settings cannot be used, or hold a credential.
            NotChangeableError, BrokerUnavailableError: as :meth:`change`.
        """
        with self._state.lock:
            cameras = self._state.cameras.all()
            if self._state.cameras.get(name) is not None:
                raise NotChangeableError(f"camera {name[:80]}: there is one of this name already")
        known = {way_of(camera) for camera in cameras if camera.report is not None}
        if way is None and self._control is not None and (self._changes is None or known == {"group"}):
            way = "group"
        with self._lock:
            if way == "group":
                if self._control is None:
                    raise NotChangeableError(f"camera {name[:80]}: this console serves a site, not a group")
                put_camera(self._control, name, document, by=by)
                return new_change(by, {}, document)
            if self._changes is None:
                raise NotChangeableError(f"camera {name[:80]}: kafka.changes_topic is null, so no worker takes changes")
            sites = {camera.report.site for camera in cameras if camera.report is not None}
            site = self._site or (sites.pop() if len(sites) == 1 else None)
            if site is None:
                raise NotChangeableError(
                    f"camera {name[:80]}: it is not known which site shall watch it; start the console with --site"
                )
            return change_site_camera(self._changes, site, name, document, by=by)

    def _topic(self, camera: Camera) -> CompactedTopic:
        """Return the topic of a camera's changes. Raises NotChangeableError."""
        way = way_of(camera)
        if camera.report is None:
            raise NotChangeableError(f"camera {camera.name}: no worker has reported it yet, so it cannot be changed")
        topic = self._control if way == "group" else self._changes if way == "site" else None
        if topic is None:
            raise NotChangeableError(
                f"camera {camera.name}: its worker {camera.report.worker} takes no changes; run it by `mistwatch run` "
                "with kafka.changes_topic set, or change its site's file"
            )
        return topic


def way_of(camera: Camera) -> str:
    """Return how the worker of a camera takes changes: site, group or none. Workers of earlier versions do not say."""
    report = camera.report
    if report is None:
        return "none"
    return report.takes_changes or ("site" if report.generation is None else "group")


def _known(settings: dict[str, Any] | None) -> CameraSettings | None:
    """Return a camera with the settings that its worker has reported; None where they are not known."""
    if settings is None:
        return None
    shown = {name: value for name, value in settings.items() if name in SHOWN}
    try:
        return CameraSettings(source=_ANY_SOURCE, username=_ANY_USER, **shown)
    except ValueError:  # by a later version
        return None
