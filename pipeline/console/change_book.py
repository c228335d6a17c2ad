"""The changes that were asked for, from the topics of changes: the newest of each camera, and who made it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pipeline.live.audit import Change, change_of
from pipeline.live.control import ControlError
from pipeline.live.setting_changes import changed
from pipeline.live.site_changes import camera_in, override_of
from pipeline.sinks.compacted_topic import Record

#: Settings of a camera that the pages show and change.
SHOWN = ("alerts", "detector_alerts", "zones", "schedule")
#: Cameras beyond these are left out: a topic with other programs' keys must not fill the memory.
_MOST = 4_000


@dataclass(frozen=True, slots=True)
class Asked:
    """The newest message about a camera.

    Attributes:
        change: who sent it, and what changed; None: it does not say so.
        changes: all changes on top of the site's file.
        document: all settings of a group's camera; None for a camera of a file.
        removed: the camera was removed.
    """

    change: Change | None
    changes: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] | None = None
    removed: bool = False

    def wanted(self, in_force: dict[str, Any]) -> dict[str, Any]:
        """Return the shown settings of the camera with these changes.

        Args:
            in_force: those that its worker has reported.
        """
        if self.document is not None:
            return {name: value for name, value in self.document.items() if name in SHOWN}
        return changed(in_force, {name: value for name, value in self.changes.items() if _is_shown(name)})


class ChangeBook:
    """The newest message about each camera. Not thread-safe.

    Args:
        site: only this site's; None: all.
    """

    def __init__(self, site: str | None = None) -> None:
        self._site = site
        self._of_sites: dict[tuple[str, str], Asked] = {}
        self._of_groups: dict[str, Asked] = {}

    def of_site(self, site: str, camera: str) -> Asked | None:
        """Return the newest message about a camera of a site's file."""
        return self._of_sites.get((site, camera))

    def of_group(self, camera: str) -> Asked | None:
        """Return the newest message about a camera of a group."""
        return self._of_groups.get(camera)

    def take_site_change(self, record: Record) -> str | None:
        """Take a record of the topic of changes; return its camera, None where it is not one of ours."""
        site = self._site or record.key.partition("/")[0]
        camera = camera_in(record.key, site)
        if camera is None:
            return None
        if record.value is None:
            self._of_sites.pop((site, camera), None)
            return camera
        try:
            override = override_of(record, change_of(record.headers))
        except ControlError:
            return None
        _put(self._of_sites, (site, camera), Asked(override.change, override.changes, None, override.removed))
        return camera

    def take_control(self, record: Record) -> str | None:
        """Take a record of the control topic; return its camera, None where it cannot be read."""
        change = change_of(record.headers)
        if record.value is None:
            if record.key in self._of_groups:
                self._of_groups[record.key] = Asked(change, document={}, removed=True)
            return record.key
        try:
            document = json.loads(record.value)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict):
            return None
        _put(self._of_groups, record.key, Asked(change, document=document))
        return record.key


def _put(book: dict[Any, Asked], key: Any, asked: Asked) -> None:
    if key in book or len(book) < _MOST:
        book[key] = asked


def _is_shown(name: str) -> bool:
    return name.partition(".")[0] in SHOWN
