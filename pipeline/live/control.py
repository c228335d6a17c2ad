"""Messages of the control topic: the cameras that a group of workers watches, one message each.

The key is the camera's id and the value the JSON of its settings, as under ``cameras:`` in a site's file. The newest
message of a key holds; one without a value removes the camera.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from pipeline.errors import UsageError
from pipeline.live.setting_changes import Changes, changed
from pipeline.names import checked_name
from pipeline.settings import CameraSettings, SettingsError, camera_from_document
from pipeline.sources.base import SourceError
from pipeline.sources.credentials import redact_location
from pipeline.sources.factory import open_source

#: Keys of a camera's settings that are never on the topic: whoever may write it could have a worker send the first line
#: of any of its files to a host of theirs.
_SECRETS = ("password", "password_file")


class ControlError(UsageError):
    """A camera cannot be watched as a control message asks. One line."""


class UnknownCameraError(ControlError):
    """A change is for a camera that is not there, or not there any more. One line."""


def camera_of(key: str, value: bytes, *, environment: bool = True) -> tuple[str, CameraSettings]:
    """Return the camera of a control message.

    Args:
        environment: the variables ``MISTWATCH_CAMERAS__NAME__…`` come on top, as of a camera in a file.

    Raises:
        ControlError: the message is not a camera of this version; one line without its place.
    """
    try:
        name = checked_name(key)
        if name != key:  # its partition is that of the bytes of the key
            raise ValueError
    except ValueError:
        raise ControlError(f"the key {key[:80]!r} is not the name of a camera, in composed form (NFC)") from None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        raise ControlError(f"camera {name}: the message is not JSON; expected the camera's settings") from None
    if not isinstance(document, dict):
        raise ControlError(f"camera {name}: expected a JSON object with the camera's settings")
    _refuse_secrets(name, document)
    return name, _checked(name, document, environment=environment)


def message_of(name: str, document: Mapping[str, Any]) -> bytes:
    """Return the value of the control message of a camera; the same camera has the same bytes.

    Raises:
        ControlError: its settings are wrong, or hold a credential.
    """
    refuse_credentials(name, document)
    settings = _checked(name, document, environment=False)
    refuse_crossed(name, settings)
    plain = settings.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True).encode()


def checked_document(name: str, document: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return a camera's settings with changes, before anything else is checked.

    Raises:
        ControlError: a change is not one of a setting, or a zone lies outside of the picture.
    """
    for setting, value in changes.items():
        if not all(setting.partition(".")[::2]) and "." in setting:
            raise ControlError(f"camera {name}: {setting!r}: expected a setting such as alerts.open_threshold")
        _refuse_pixels(name, setting, value)
    return changed(document, changes)


def refuse_crossed(name: str, settings: CameraSettings) -> None:
    """Refuse a close threshold above the open one. Raises ControlError."""
    own = {f"detector_alerts.{detector}": tuning for detector, tuning in settings.detector_alerts.items()}
    for where, tuning in {"alerts": settings.alerts, **own}.items():
        opens, closes = tuning.open_threshold, tuning.close_threshold
        if opens is not None and closes is not None and closes > opens:
            raise ControlError(
                f"camera {name}: {where}.close_threshold ({closes}) must not exceed {where}.open_threshold ({opens})"
            )


def refuse_credentials(name: str, document: Mapping[str, Any]) -> None:
    """Refuse secrets, and a source that holds one. Raises ControlError."""
    _refuse_secrets(name, document)
    source = document.get("source")
    if isinstance(source, str) and redact_location(source) != source:
        raise ControlError(
            f"camera {name}: source: holds credentials; leave them out of it: "
            f"{_WHERE_SECRETS_ARE.format(variable=_variable(name))}"
        )


def _refuse_pixels(name: str, setting: str, value: object) -> None:
    """Refuse zones whose corners are pixels: they would depend on the size of the picture that they were drawn on."""
    if not setting.startswith("zones"):
        return
    zones = [value] if "." in setting else list(value.values()) if isinstance(value, Mapping) else []
    for zone in zones:
        points = zone.get("points") if isinstance(zone, Mapping) else None
        for point in points if isinstance(points, list | tuple) else ():
            if isinstance(point, list | tuple) and any(_is_number(each) and not 0 <= each <= 1 for each in point):
                raise ControlError(
                    f"camera {name}: {setting}: a corner lies outside the picture (got {list(point)}); expected shares "
                    "of the picture from 0 to 1. Was it drawn in pixels, or on a picture of another size?"
                )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


#: The operator's way out, where a message would hold a credential.
_WHERE_SECRETS_ARE = (
    "neither secrets nor their files are named on the topic; give the workers the variable {variable} or "
    "{variable}_FILE, and the user as the setting username"
)


def _refuse_secrets(name: str, document: Mapping[str, Any]) -> None:
    for secret in _SECRETS:
        if document.get(secret) is not None:
            raise ControlError(f"camera {name}: {secret}: {_WHERE_SECRETS_ARE.format(variable=_variable(name))}")


def _variable(name: str) -> str:
    """Return the environment variable of a camera's password."""
    plain = name.replace(".", "_").replace("-", "_").upper()
    return f"MISTWATCH_CAMERAS__{plain}__PASSWORD"


def _checked(name: str, document: Mapping[str, Any], *, environment: bool) -> CameraSettings:
    """Return the settings of a camera that a group can watch. Raises ControlError."""
    try:
        settings = camera_from_document(name, document, environment=environment)
        if settings.calibration is not None and not settings.calibration.is_absolute():
            raise ControlError(
                f"camera {name}: calibration: expected an absolute path, the same on each worker "
                f"(got {settings.calibration})"
            )
        if "://" not in settings.source or settings.source.lower().startswith("file:"):
            raise ControlError(f"camera {name}: source: a group watches live cameras only; use `mistwatch replay`")
        if not open_source(name, settings.source).live:
            raise ControlError(f"camera {name}: source: a group watches live cameras only; use `mistwatch replay`")
    except SettingsError as error:
        raise ControlError("; ".join(str(error).splitlines())) from None
    except SourceError as error:
        raise ControlError(str(error)) from None
    return settings
