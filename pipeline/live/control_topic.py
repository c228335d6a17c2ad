"""The control topic for commands: add, change, remove and list the cameras of a group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from typing import Any

from pipeline.live.audit import Change as AuditedChange
from pipeline.live.audit import new_change
from pipeline.live.change_log import ChangeLog, Kind
from pipeline.live.control import ControlError, UnknownCameraError, camera_of, checked_document, message_of
from pipeline.live.setting_changes import Changes, values_of
from pipeline.names import checked_name
from pipeline.settings import CameraSettings
from pipeline.sinks.compacted_topic import CompactedTopic, Record


class Change(StrEnum):
    """The effect of a message."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ListedCamera:
    """One message of the topic.

    Attributes:
        settings: None where the message cannot be used.
        problem: why not, in one line.
    """

    name: str
    partition: int
    offset: int
    settings: CameraSettings | None
    problem: str = ""


def put_camera(topic: CompactedTopic, name: str, document: Mapping[str, Any], *, by: str | None = None) -> Change:
    """Publish a camera's settings, unless the topic has the same already. They replace those of other writers.

    Args:
        document: as under ``cameras:`` in a site's file.
        by: who asks for it; None: this process's user.

    Raises:
        ControlError: the name or the settings are wrong, or hold a credential; nothing is sent.
        BrokerUnavailableError: the broker cannot be reached.
        ContendedCameraError: others change it again and again at the same moment.
    """
    name = _name(name)
    value = message_of(name, document)
    topic.ensure()
    log = _log_of(topic, name)
    before = log.value
    if log.is_newest(value) and not log.strays:
        return Change.UNCHANGED
    old = {} if before is None else _document_of(before)
    log.publish(value, _changed_by(by, old, json.loads(value)), Kind.WHOLE)
    _clear(topic, name, log.strays, by)
    return Change.ADDED if before is None else Change.CHANGED


def change_camera(topic: CompactedTopic, name: str, changes: Changes, *, by: str | None = None) -> AuditedChange:
    """Change settings of a camera of a group, and return what they were before and are after.

    Changes by others at the same moment stay (:mod:`pipeline.live.change_log`), and a removal does, too.

    Args:
        changes: see :mod:`pipeline.live.setting_changes`.
        by: who asks for it; None: this process's user.

    Raises:
        UnknownCameraError: the topic does not have the camera (any more).
        ControlError: the settings cannot be used so; they are not in force.
        BrokerUnavailableError: the broker cannot be reached, or the topic does not exist.
        ContendedCameraError: others change it again and again at the same moment.
    """
    name = _name(name)
    log = _log_of(topic, name)
    value, change = _with_change(name, log.value, new_change(by, {}, dict(changes)))
    change = log.publish(value, change, Kind.CHANGE)
    _clear(topic, name, log.strays, by)
    return change


def remove_camera(topic: CompactedTopic, name: str, *, by: str | None = None) -> bool:
    """Take a camera back; return whether the topic had it.

    Raises:
        ControlError: the name cannot be one of a camera.
        BrokerUnavailableError: the broker cannot be reached, or the topic does not exist.
    """
    name = _name(name)
    log = _log_of(topic, name)
    is_known = log.value is not None
    if log.has_value:
        log.publish(None, new_change(by), Kind.WHOLE)
    _clear(topic, name, log.strays, by)
    return is_known


def list_cameras(topic: CompactedTopic) -> list[ListedCamera]:
    """Return the cameras of the topic, by name. Raises BrokerUnavailableError."""
    newest: dict[tuple[str, int], Record] = {}
    for record in topic.read():
        newest[(record.key, record.partition)] = record
    return [_listed(record) for _, record in sorted(newest.items()) if record.value is not None]


def _listed(record: Record) -> ListedCamera:
    assert record.value is not None
    try:
        _, settings = camera_of(record.key, record.value, environment=False)
    except ControlError as error:
        return ListedCamera(record.key, record.partition, record.offset, None, str(error))
    return ListedCamera(record.key, record.partition, record.offset, settings)


def _log_of(topic: CompactedTopic, name: str) -> ChangeLog:
    return ChangeLog(topic, name, lambda value, change: _with_change(name, value, change))


def _with_change(name: str, value: bytes | None, change: AuditedChange) -> tuple[bytes, AuditedChange]:
    """Return a camera's message with a change, and the change with its values before and after. Raises ControlError."""
    if value is None:
        raise _unknown(name)
    before = _document_of(value)
    wanted = message_of(name, checked_document(name, before, change.after))
    after = values_of(json.loads(wanted), change.after)
    return wanted, replace(change, before=values_of(before, change.after), after=after)


def _unknown(name: str) -> UnknownCameraError:
    return UnknownCameraError(f"camera {name}: unknown, or just removed; `mistwatch cameras list` has the cameras")


def _document_of(value: bytes) -> dict[str, Any]:
    """Return a message's settings; none where it cannot be read, which a change then replaces."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _changed_by(by: str | None, before: Mapping[str, Any], after: Mapping[str, Any]) -> AuditedChange:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return new_change(by, {name: before.get(name) for name in names}, {name: after.get(name) for name in names})


def _clear(topic: CompactedTopic, name: str, partitions: list[int], by: str | None) -> None:
    """Remove a camera from these partitions."""
    headers = new_change(by).headers
    for partition in partitions:
        placing = next(key for key in map(str, count()) if topic.partition_of(key) == partition)
        topic.send_now(name, None, partition_key=placing, headers=headers)


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except ValueError as error:
        raise ControlError(f"camera {text[:80]!r}: {error}") from None
