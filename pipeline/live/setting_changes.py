"""Changes of a camera's settings by their names; pure.

A change maps names to new values: ``{"alerts.open_threshold": 0.7, "zones.road": {…}, "schedule": None}``. A name is
that of a setting, or of a setting and a key in it, with one dot between them; a zone's own name may hold further dots.
Each value replaces the old one as a whole. None removes it: the setting has its default again, and the zone is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]


def changed(document: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return a camera's settings, as under ``cameras:`` in a site's file, with the changes; a new document."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in document.items()}
    for name, value in changes.items():
        setting, dot, key = name.partition(".")
        if not dot:
            _put(result, setting, value)
            continue
        inner = result.get(setting)
        inner = dict(inner) if isinstance(inner, Mapping) else {}
        _put(inner, key, value)
        _put(result, setting, inner or None)
    return result


def combined(first: Changes, second: Changes) -> dict[str, Any]:
    """Return the changes that have the effect of two, one after the other; no name in them lies within another one."""
    result: dict[str, Any] = {}
    for name, value in [*first.items(), *second.items()]:
        setting, dot, _ = name.partition(".")
        if dot and setting in result:  # it was replaced as a whole: the key goes into that
            result[setting] = changed({setting: result[setting]}, {name: value}).get(setting)
            continue
        for inner in [each for each in result if not dot and each.startswith(f"{setting}.")]:
            del result[inner]
        result[name] = value
    return result


def values_of(document: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return the values that these settings have in a document; None where they have their defaults."""
    found = {}
    for name in changes:
        setting, dot, key = name.partition(".")
        value = document.get(setting)
        if dot:
            value = value.get(key) if isinstance(value, Mapping) else None
        found[name] = value
    return found


def _put(document: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        document.pop(key, None)
    else:
        document[key] = value
