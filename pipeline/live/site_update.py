"""A running worker turned from one site to another: cameras added, removed and changed, each alone.

Pure but for :func:`update`, which carries a plan out. Settings that no running worker can change are named, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline import logs
from pipeline.errors import MistwatchError
from pipeline.live.audit import Change, described, log_change
from pipeline.live.change_kinds import Difference, Kind
from pipeline.settings import CameraSettings, Site

_log = logs.get("changes")

#: Settings of the whole site that a running worker takes over.
_TAKEN = ("alerts", "calibration", "clip", "gate", "tamper")
#: The same of a detector.
_TAKEN_OF_DETECTORS = ("alerts", "calibration", "clip", "gate")


class SiteHost(Protocol):
    """The cameras of this worker; see :class:`pipeline.live.service.Service`."""

    site: Site

    def turn_to(self, site: Site) -> None:
        """Use the rules that are the whole site's."""
        ...

    def check_camera(self, name: str, settings: CameraSettings) -> None:
        """Check that a camera can be watched so, and change nothing. Raises MistwatchError."""
        ...

    def difference(self, name: str, settings: CameraSettings) -> Difference:
        """Return what differs from the settings with which a camera is watched. Raises MistwatchError."""
        ...

    def judge_camera(self, name: str, settings: CameraSettings) -> bool:
        """Judge a camera by other settings while it goes on; return whether that was done. Raises MistwatchError."""
        ...

    def restart_camera(self, name: str, settings: CameraSettings) -> None:
        """Stop a camera, and start it with other settings. Raises MistwatchError."""
        ...

    def add_camera(self, name: str, settings: CameraSettings, claim: None) -> bool:
        """Watch one more camera. Raises MistwatchError."""
        ...

    def remove_camera(self, name: str) -> object:
        """Watch a camera no longer."""
        ...

    def note_change(self, name: str, change: Change | None, problem: str = "") -> None:
        """Report that a change of a camera is in force, or why it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Update:
    """The difference of two sites.

    Attributes:
        site: the present site with the settings of the whole that are taken over, and its present cameras.
        left: names of settings that need a restart of the worker.
        rules: names of settings of the whole site that change how cameras are watched and judged.
    """

    site: Site
    left: tuple[str, ...]
    rules: tuple[str, ...]


def planned(present: Site, wanted: Site) -> Update:
    """Return the difference of two sites but for their cameras."""
    left, rules, taken = [], [], {}
    for name in type(present).model_fields:
        one, other = getattr(present, name), getattr(wanted, name)
        if name in ("cameras", "detectors") or one == other:
            continue
        if name in _TAKEN:
            rules.append(name)
            taken[name] = other
        else:
            left.append(name)
    detectors = dict(present.detectors)
    for name in {**present.detectors, **wanted.detectors}:
        before, after = present.detectors.get(name), wanted.detectors.get(name)
        if before == after:
            continue
        if before is None or after is None:
            left.append(f"detectors.{name}")
            continue
        parts = {part: getattr(after, part) for part in _TAKEN_OF_DETECTORS}
        detectors[name] = before.model_copy(update=parts)
        rules += [f"detectors.{name}.{part}" for part in parts if getattr(before, part) != parts[part]]
        if detectors[name] != after:
            left.append(f"detectors.{name}")
    return Update(present.model_copy(update={**taken, "detectors": detectors}), tuple(left), tuple(rules))


def update(
    host: SiteHost,
    wanted: Site,
    changes: Mapping[str, Change | None],
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[str, ...]:
    """Turn a running worker to another site, and return the names of settings that need its restart.

    A camera that cannot be watched as it should stays as it is, which is logged; the others are changed all the same.

    Args:
        changes: who has asked for the change of a camera, where that is known.
        is_over: the worker ends: the rest is left.
    """
    plan = planned(host.site, wanted)
    if plan.rules:
        host.turn_to(plan.site)
    for name in [each for each in host.site.cameras if each not in wanted.cameras]:
        if not is_over():
            host.remove_camera(name)
            _log.info("camera removed", camera=name, **described(changes.get(name)))
    for name, settings in wanted.cameras.items():
        if is_over():
            break
        problem = ""
        try:
            _turn_camera(host, name, settings, changes.get(name), plan.rules)
        except MistwatchError as error:
            problem = str(error)
            what_next = "it goes on with its old settings" if name in host.site.cameras else "it is not watched"
            reason = " ".join(str(error).split())
            _log.error(f"a camera cannot be changed; {what_next}", camera=name, error=reason)
        except RuntimeError:
            if not is_over():  # else the worker takes no camera any more
                raise
        if name in changes:
            host.note_change(name, changes[name], problem)
    return plan.left


def _turn_camera(
    host: SiteHost, name: str, settings: CameraSettings, change: Change | None, rules: tuple[str, ...]
) -> None:
    if name not in host.site.cameras:
        host.check_camera(name, settings)
        host.add_camera(name, settings, None)
        _log.info("camera added", camera=name, **described(change))
        return
    found = host.difference(name, settings)
    if found.kind is Kind.NOTHING:
        return
    host.check_camera(name, settings)
    in_place = found.kind < Kind.SOURCE and host.judge_camera(name, settings)
    if not in_place:
        host.restart_camera(name, settings)
    log_change(name, found if found.settings else Difference(found.kind, rules), change, restarted=not in_place)
