"""The difference of two settings of one camera, and what it takes to apply it to the running camera; pure.

What happens to the camera's open alert:

* :attr:`Kind.JUDGING`: it stays open under its id. The new thresholds, intervals and limits hold from its next clip on,
  so one that is below the new ``close_threshold`` ends with that clip. Its events keep the threshold at which it began.
  Its zones and its mute are found anew with its next peak and event; once it was sent unmuted it stays so. A row of
  clips that has not become an alert yet starts afresh.
* :attr:`Kind.PIXELS`: the same. The moving average mixes scores from before and after for as many clips as its kernel.
* :attr:`Kind.SOURCE`: it ends with ``shutdown``, because the stream is closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from operators.tamper.kinds import TamperKind
from pipeline.live.judging import Rules
from pipeline.settings import CameraSettings, GateTuning, Site


class Kind(IntEnum):
    """The least that applies a difference, from cheap to dear."""

    NOTHING = 0
    JUDGING = 1  #: other rules for the scores: on the thread of the operators
    PIXELS = 2  #: other pixels are hidden or gated before the score: on the camera's thread, too, from its next clip on
    SOURCE = 3  #: the camera alone is stopped and started


#: Settings that are applied to a running camera. Any other one, also one that a later version adds, restarts it.
_IN_PLACE = {
    "calibration": Kind.JUDGING,
    "schedule": Kind.JUDGING,
    "alerts": Kind.JUDGING,
    "detector_alerts": Kind.JUDGING,
    "zones": Kind.JUDGING,
    "gate": Kind.PIXELS,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two settings.

    Attributes:
        settings: names of the settings, such as ``alerts.open_threshold`` and ``zones.road``, in order; no values.
    """

    kind: Kind = Kind.NOTHING
    settings: tuple[str, ...] = ()

    def __or__(self, other: Difference) -> Difference:
        return Difference(max(self.kind, other.kind), tuple(dict.fromkeys((*self.settings, *other.settings))))


def difference(before: CameraSettings, after: CameraSettings) -> Difference:
    """Return what differs between two settings of one camera."""
    names: list[str] = []
    kind = Kind.NOTHING
    for field in CameraSettings.model_fields:
        one, other = getattr(before, field), getattr(after, field)
        if one == other:
            continue
        kind = max(kind, _IN_PLACE.get(field, Kind.SOURCE))
        names += [f"{field}.{key}" for key in _inner(one, other)] or [field]
    if "alerts.max_hole" in names:
        kind = Kind.SOURCE  # how long a clip is awaited belongs to the clips that are under way
    elif before.ignored != after.ignored:
        kind = max(kind, Kind.PIXELS)
    return Difference(kind, tuple(names))


def rules_difference(before: Rules, after: Rules) -> Kind:
    """Return the kind of a difference of the rules of one camera and detector: of the site, or a calibration's file."""
    if before == after:
        return Kind.NOTHING
    if before.clip != after.clip or before.alerts.max_hole != after.alerts.max_hole:
        return Kind.SOURCE
    return Kind.PIXELS if before.ignored != after.ignored else Kind.JUDGING


@dataclass(frozen=True, slots=True)
class Inherited:
    """Settings of a camera that it has in part from the site, as they hold for it.

    Attributes:
        gates: by detector.
    """

    tamper: frozenset[TamperKind]
    gates: tuple[tuple[str, GateTuning], ...]

    @classmethod
    def of(cls, site: Site, camera: str) -> Inherited:
        """Return the settings of one of a site's cameras."""
        gates = tuple((detector, site.gate_of(camera, detector)) for detector in site.detectors_of(camera))
        return cls(site.tamper_of(camera), gates)

    def difference(self, other: Inherited) -> Kind:
        """Return the kind of a difference, also one that no setting of the camera itself shows."""
        if self.tamper != other.tamper:
            return Kind.SOURCE
        return Kind.NOTHING if self.gates == other.gates else Kind.PIXELS


def _inner(one: object, other: object) -> Iterable[str]:
    """Return the keys in which two mappings or models differ; none where they are neither."""
    before, after = _items(one), _items(other)
    if before is None or after is None:
        return []
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def _items(value: object) -> dict[str, object] | None:
    if isinstance(value, dict):
        return value
    fields = getattr(type(value), "model_fields", None)
    return None if fields is None else {name: getattr(value, name) for name in fields}
