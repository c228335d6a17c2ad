"""Changes of the cameras of a site's file: messages of the topic ``mistwatch.changes``, on top of the file.

The key is ``SITE/CAMERA``, and the value the JSON of all changes of that camera, ``{"changes":
{"alerts.open_threshold": 0.7}}`` (:mod:`pipeline.live.setting_changes`), or ``{"removed": true}``. A camera that the
file lacks is added by changes that name its ``source``. The newest message of a key holds; one without a value leaves
the camera as the file has it. Who has changed what stands in the record's header (:mod:`pipeline.live.audit`).

It is another topic than that of the groups' cameras, because their workers take every key there for a camera.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from pipeline.errors import MistwatchError
from pipeline.live.audit import Change, new_change
from pipeline.live.change_log import ChangeLog, Kind
from pipeline.live.control import ControlError, UnknownCameraError, checked_document, refuse_credentials, refuse_crossed
from pipeline.live.setting_changes import Changes, changed, combined, values_of
from pipeline.names import checked_name
from pipeline.settings import CameraSettings, SettingsError, Site, camera_from_document
from pipeline.sinks.compacted_topic import CompactedTopic, Record
from pipeline.sources.credentials import redact_location

#: A camera that its worker alone knows: any source serves the check of what changes.
_UNKNOWN = CameraSettings(source="rtsp://192.0.2.1/", username="unknown")


@dataclass(frozen=True, slots=True)
class Override:
    """All changes of one camera.

    Attributes:
        change: the last one, where its record says so.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    removed: bool = False
    change: Change | None = None

    def to_json(self) -> bytes:
        """Return the record's value."""
        document: dict[str, Any] = {"removed": True} if self.removed else {"changes": self.changes}
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()


def override_of(record: Record, change: Change | None = None) -> Override:
    """Return the changes of a record that has a value. Raises ControlError: it cannot be read; one line."""
    assert record.value is not None
    return _parsed(record.key, record.value, change)


def _parsed(key: str, value: bytes, change: Change | None = None) -> Override:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.get("removed") is True:
        return Override(removed=True, change=change)
    if not isinstance(document, dict) or not isinstance(changes := document.get("changes"), dict):
        raise ControlError(f"{key[:80]!r}: not changes of a camera; expected JSON such as {{'changes': {{…}}}}")
    return Override(changes, change=change)


def overridden_camera(name: str, settings: CameraSettings | None, override: Override) -> CameraSettings | None:
    """Return a camera's settings with the changes on top; None where it is removed.

    Args:
        settings: as the site's file and the environment have them; None: they do not name the camera.

    Raises:
        ControlError: they cannot be used; one line.
    """
    if override.removed:
        return None
    if settings is None and "source" not in override.changes:
        raise UnknownCameraError(f"camera {name}: a change for a camera that is not there (any more); it is left out")
    document = {} if settings is None else settings.model_dump(exclude_defaults=True)
    refuse_credentials(name, changed({}, override.changes))
    wanted = checked_document(name, document, override.changes)
    try:
        found = camera_from_document(name, wanted) if settings is None else CameraSettings.model_validate(wanted)
    except SettingsError as error:
        raise ControlError("; ".join(str(error).splitlines())) from None
    except ValidationError as error:
        raise ControlError(_explained(name, wanted) or f"camera {name}: {error.error_count()} setting(s)") from None
    if "calibration" in override.changes and found.calibration is not None and not found.calibration.is_absolute():
        raise ControlError(f"camera {name}: calibration: expected an absolute path (got {found.calibration})")
    source = override.changes.get("source")
    if source is not None and ("://" not in str(source) or str(source).lower().startswith("file:")):
        raise ControlError(f"camera {name}: source: expected a live camera, such as rtsp://…")
    guarded = next((each for each in override.changes if each.partition(".")[0] in ("source", "tls")), None)
    if guarded is not None and settings is not None and _has_secret(settings):
        # The writer of the topic could have the password sent to another host, or to one in between.
        raise ControlError(
            f"camera {name}: {guarded}: cannot be changed here, since the camera has a password; change it in the file"
        )
    refuse_crossed(name, found)
    return found


def overridden_site(site: Site, overrides: Mapping[str, Override]) -> tuple[Site, dict[str, str]]:
    """Return the site of a file with changes on top, and why those of a camera are left out, in one line each."""
    problems: dict[str, str] = {}
    for name, override in overrides.items():
        try:
            camera = overridden_camera(name, site.cameras.get(name), override)
            if camera is not None:
                site = site.with_camera(name, camera)
            elif name in site.cameras and len(site.cameras) == 1:
                problems[name] = f"camera {name}: it is the only one, and a site needs one; stop the worker instead"
            else:
                site = site.without_camera(name)
        except (MistwatchError, ValueError) as error:
            problems[name] = " ".join(str(error).split())
    return site, problems


def key_of(site: str, camera: str) -> str:
    """Return the key of a camera's changes."""
    return f"{site}/{camera}"


def camera_in(key: str, site: str) -> str | None:
    """Return the camera of a record's key; None where the record is of another site, or its key is foreign."""
    name, slash, camera = key.partition("/")
    try:
        return camera if name == site and slash and checked_name(camera) == camera else None
    except ValueError:
        return None


def change_site_camera(
    topic: CompactedTopic,
    site: str,
    camera: str,
    changes: Changes | None,
    *,
    file: CameraSettings | None = None,
    by: str | None = None,
    revives: bool = True,
) -> Change:
    """Send changes of a camera to the workers of a site's file, and return what was before and is after.

    Changes by others at the same moment stay (:mod:`pipeline.live.change_log`), and a removal does, too.

    Args:
        changes: on top of those that were sent before; None removes the camera.
        file: the camera as the site's file has it, where it is known: all changes are then checked together, and the
            values before are those of the file. Otherwise the worker checks, and names a problem in its log.
        by: who asks for it; None: this process's user.
        revives: with ``file``, changes of a camera that was removed bring it back.

    Raises:
        UnknownCameraError: it was removed by an earlier change, or by one at the same moment.
        ControlError: the changes cannot be used; they are not in force.
        BrokerUnavailableError: the broker cannot be reached.
        ContendedCameraError: others change it again and again at the same moment.
    """
    try:
        key = key_of(checked_name(site), checked_name(camera))
    except ValueError as error:
        raise ControlError(f"camera {camera[:80]!r} of site {site[:80]!r}: {error}") from None
    topic.ensure()
    log = _log_of(topic, key, camera)
    known = _override_in(log.value)
    if changes is None:
        change = new_change(by, {"removed": known.removed}, {"removed": True})
        return log.publish(Override(removed=True).to_json(), change, Kind.WHOLE)
    if known.removed and "source" not in changes and (file is None or not revives):
        raise _just_removed(camera)
    merged = Override(dict(changes) if known.removed else combined(known.changes, changes))
    base = {} if file is None else file.model_dump(mode="json", exclude_defaults=True)
    before = base if known.removed else changed(base, known.changes)
    overridden_camera(camera, file if file is not None or "source" in merged.changes else _UNKNOWN, merged)
    change = new_change(by, values_of(before, changes), values_of(changed(before, changes), changes))
    return log.publish(merged.to_json(), change, Kind.CHANGE)


def drop_site_changes(topic: CompactedTopic, site: str, camera: str, *, by: str | None = None) -> bool:
    """Leave a camera as its site's file has it; return whether there were changes.

    Raises:
        BrokerUnavailableError: the broker cannot be reached, or the topic does not exist.
        ContendedCameraError: as :func:`change_site_camera`.
    """
    log = _log_of(topic, key_of(site, camera), camera)
    if not (log.has_value or log.strays):
        return False
    log.publish(None, new_change(by, _override_in(log.value).changes), Kind.WHOLE)
    return True


def _log_of(topic: CompactedTopic, key: str, camera: str) -> ChangeLog:
    return ChangeLog(topic, key, lambda value, change: _with_change(camera, value, change))


def _with_change(camera: str, value: bytes | None, change: Change) -> tuple[bytes, Change]:
    """Return a record's value with a change, and the change with what was before and is after.

    The site's file is not at hand: its values are those that the change names as before, where no record changes them.

    Raises:
        ControlError: the changes cannot be used together.
    """
    known = _override_in(value)
    if known.removed and change.after.get("source") is None:
        raise _just_removed(camera)
    merged = Override(dict(change.after) if known.removed else combined(known.changes, change.after))
    overridden_camera(camera, _UNKNOWN, merged)
    document = changed(changed({}, change.before), known.changes)
    before, after = values_of(document, change.after), values_of(changed(document, change.after), change.after)
    return merged.to_json(), replace(change, before=before, after=after)


def _just_removed(camera: str) -> UnknownCameraError:
    return UnknownCameraError(f"camera {camera}: it has just been removed; name its source to add it again")


def _override_in(value: bytes | None) -> Override:
    """Return the changes of a record; none for a missing value, and for one that cannot be read and is replaced."""
    if value is None:
        return Override()
    try:
        return _parsed("", value)
    except ControlError:
        return Override()


def _has_secret(settings: CameraSettings) -> bool:
    in_source = redact_location(settings.source) != settings.source
    return in_source or settings.password is not None or settings.password_file is not None


def _explained(name: str, document: Mapping[str, Any]) -> str:
    """Return the first problem of a camera's settings in one line, without secrets."""
    plain = {key: value for key, value in document.items() if key not in ("password", "password_file")}
    try:
        camera_from_document(name, plain, environment=False)
    except SettingsError as error:
        return str(error).splitlines()[0]
    return ""
