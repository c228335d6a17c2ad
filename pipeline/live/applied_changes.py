"""The last change of each camera that a worker has applied or refused, for the reports of its cameras."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pipeline.alerts.camera_report import ReportedChange, TakesChanges
from pipeline.live.audit import Change
from pipeline.printable import printable
from pipeline.settings import CameraSettings
from pipeline.sources.credentials import redact

#: Settings of a camera that its report shows: they can change while it runs, and hold no secret.
_SHOWN = {"alerts", "detector_alerts", "zones", "schedule"}
#: Longest reason that is reported, characters.
_LONGEST = 500


class AppliedChanges:
    """Last changes by camera. Thread-safe.

    Args:
        takes: the topic from which the worker takes changes.
        on_note: called with the camera after each note; must return quickly.
    """

    def __init__(self, takes: TakesChanges, on_note: Callable[[str], None] = lambda _camera: None) -> None:
        self.takes = takes
        self._on_note = on_note
        self._changes: dict[str, ReportedChange] = {}
        self._lock = threading.Lock()

    def note(self, camera: str, change: Change | None, problem: str = "") -> None:
        """Note that a change is in force, or why it is not.

        Args:
            change: None: the camera has no changes any more, or their author is not known.
        """
        reason = redact(printable(" ".join(problem.split())))[:_LONGEST] or None
        with self._lock:
            self._changes.pop(camera, None)
            if change is not None:
                self._changes[camera] = ReportedChange(by=change.by, at=change.at, problem=reason)
        self._on_note(camera)

    def forget(self, camera: str) -> None:
        """Forget a camera that is watched no longer."""
        with self._lock:
            self._changes.pop(camera, None)

    def last(self, camera: str) -> ReportedChange | None:
        """Return the last change of a camera."""
        with self._lock:
            return self._changes.get(camera)


def shown_settings(settings: CameraSettings) -> dict[str, Any]:
    """Return the settings of a camera that its report shows, as under ``cameras:`` in a site's file."""
    return settings.model_dump(mode="json", include=_SHOWN, exclude_defaults=True)
