"""The origin of a change: who asked for it and when, and what it was before and after.

It travels as the header ``mistwatch-change`` of the record that makes the change: workers of earlier versions read the
record's value alone, and take no notice. Before and after hold no secrets, because none is ever on a topic.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline import logs
from pipeline.live.change_kinds import Difference
from pipeline.printable import printable
from pipeline.sources.credentials import redact

_log = logs.get("changes")

#: Name of the record's header.
HEADER = "mistwatch-change"
#: Longest name of an author that is kept, characters.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        by: who asked for it: a user of the console, or user@host.
        at: when (UTC), by the clock of the machine that sent it.
        before, after: values of the changed settings by their names; None where a setting has its default. Empty where
            they are not known.
    """

    by: str
    at: datetime
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the header's value."""
        document = {"by": self.by, "at": self.at.isoformat(), "before": self.before, "after": self.after}
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers of a record, as kafka-python takes them."""
        return [(HEADER, self.to_json())]


def new_change(by: str | None, before: dict[str, Any] | None = None, after: dict[str, Any] | None = None) -> Change:
    """Return a change that is made now; ``by`` None: by this process's user."""
    return Change(_author(by or this_user()), datetime.now(UTC), before or {}, after or {})


def change_of(headers: Iterable[tuple[str, bytes | None]] | None) -> Change | None:
    """Return the change that a record's headers name; None where they name none that can be read."""
    for name, value in headers or ():
        if name == HEADER and value is not None:
            return _read(value)
    return None


def described(change: Change | None) -> dict[str, str]:
    """Return ``by`` and ``at`` for a log line; nothing where they are not known."""
    return {} if change is None else {"by": change.by, "at": change.at.isoformat(timespec="seconds")}


def log_change(camera: str, found: Difference, change: Change | None, *, restarted: bool) -> None:
    """Log one line for a change that is in force: the settings' names, never their values."""
    if not found.settings and change is None:
        return
    how = "the camera was started anew" if restarted else "in place"
    _log.info(
        "camera changed", camera=camera, settings=", ".join(found.settings) or "none", how=how, **described(change)
    )


def this_user() -> str:
    """Return user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _read(value: bytes) -> Change | None:
    try:
        document = json.loads(value)
        at = datetime.fromisoformat(document["at"])
        by, before, after = document["by"], document.get("before", {}), document.get("after", {})
        if isinstance(by, str) and at.tzinfo is not None and isinstance(before, dict) and isinstance(after, dict):
            return Change(_author(by), at, before, after)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def _author(by: str) -> str:
    return redact(printable(by))[:_LONGEST]
