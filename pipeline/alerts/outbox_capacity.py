"""The limits of an outbox: updates merge when it is full for a sink, and then new alerts are refused for that sink.

Each sink has its own limits, so that a dead sink costs the others nothing. Updates and ends of alerts whose begin was
taken are always taken: they come on top of the limits, at most a few for each alert that is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.alerts.outbox_merging import MOST_GROUPS, Merge, merge_alert, merge_some
from pipeline.alerts.reading import Event

#: A sink that is full takes new alerts again below this share of its limits: else one alert would be taken and the next
#: one refused, again and again.
_RESUME_SHARE = 0.9
#: Most incidents whose refusal is remembered for a sink: the end of some never comes.
_MOST_REFUSED = 10_000


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Most events, and most bytes of their documents, that wait for one sink."""

    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Fill:
    """Number of events that wait for a sink, and the bytes of their documents."""

    events: int
    bytes: int

    def reaches(self, limits: OutboxLimits, share: float = 1.0) -> bool:
        """Return whether it is at least this share of the limits."""
        return self.events >= share * limits.events or self.bytes >= share * limits.bytes


class OutboxListener:
    """Callbacks of an outbox, all empty; override the ones of interest.

    They run on the thread that accepts events, or on a relay's: they must be quick and must not raise.
    """

    def merged(self, sink: str, count: int) -> None:
        """``count`` updates that waited for the sink were merged into later ones."""

    def refused(self, sink: str, event: Event) -> None:
        """The sink does not get a new alert, nor its later events: too much waits for it. Called at its begin."""

    def full(self, sink: str, fill: Fill) -> None:
        """New alerts are refused for the sink from now on."""

    def has_room(self, sink: str) -> None:
        """New alerts are taken for the sink again."""

    def dropped(self, sink: str, count: int) -> None:
        """The oldest events that were set aside for the sink are deleted: there are too many."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as the tables see it.

    Attributes:
        incident: the alert or drift that it belongs to; None for an event of its own, such as a judgement.
        state: ``begin``, ``update`` or ``end``; None as the incident.
    """

    event: Event
    document: str
    incident: str | None
    state: str | None

    @classmethod
    def of(cls, event: Event) -> Entry:
        """Return the entry of an event."""
        state: str | None = getattr(event.data, "state", None)
        incident, _, _ = event.id.rpartition("/")
        return cls(event, event.to_json().decode(), incident or None, None if state is None else str(state))


@dataclass(slots=True)
class Changes:
    """Changes of one transaction, reported once it is committed."""

    merges: list[Merge] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    became_full: dict[str, Fill] = field(default_factory=dict)
    has_room: list[str] = field(default_factory=list)


class Capacity:
    """Decides, within the transactions of an outbox, which sinks get an event.

    Args:
        limits: of each sink; None: there are none.
    """

    def __init__(self, sinks: Iterable[str], limits: OutboxLimits | None) -> None:
        self._limits = limits
        self._is_full = dict.fromkeys(sinks, False)
        self._merge_after = dict.fromkeys(self._is_full, "")  # see merge_some()

    def takers(self, connection: sqlite3.Connection, entry: Entry, changes: Changes) -> list[str]:
        """Return the sinks that get the event; the others are noted in ``changes``."""
        return [sink for sink in self._is_full if self._takes(connection, sink, entry, changes)]

    def make_room(self, connection: sqlite3.Connection, entry: Entry, sinks: Iterable[str], changes: Changes) -> None:
        """Merge updates where an update that was just added has filled a sink's share."""
        if self._limits is None or entry.state != "update" or entry.incident is None:
            return
        for sink in sinks:
            if self._fills(connection, sink, self._limits, changes) and self._is_full[sink]:
                changes.merges += merge_alert(connection, sink, entry.incident)

    def commit(self, changes: Changes) -> None:
        """Take over the changes of a transaction that is committed."""
        self._is_full.update(dict.fromkeys(changes.became_full, True))
        self._is_full.update(dict.fromkeys(changes.has_room, False))

    def _takes(self, connection: sqlite3.Connection, sink: str, entry: Entry, changes: Changes) -> bool:
        if self._limits is None:
            return True
        row = (sink, entry.incident)
        if entry.state in ("update", "end"):
            query = "SELECT 1 FROM refused_incidents WHERE sink = ? AND incident = ?"
            known = connection.execute(query, row).fetchone()
            if known and entry.state == "end":
                connection.execute("DELETE FROM refused_incidents WHERE sink = ? AND incident = ?", row)
            return not known
        connection.execute("DELETE FROM refused_incidents WHERE sink = ? AND incident = ?", row)
        if not self._fills(connection, sink, self._limits, changes):
            return True
        changes.refused.append(sink)
        if entry.incident is not None:
            connection.execute("INSERT INTO refused_incidents VALUES (?, ?)", row)
        return False

    def _fills(self, connection: sqlite3.Connection, sink: str, limits: OutboxLimits, changes: Changes) -> bool:
        """Return whether new alerts are refused for the sink, after merging updates where that may make room."""
        if self._is_full[sink]:
            if fill_of(connection, sink).reaches(limits, _RESUME_SHARE):
                return True
            changes.has_room.append(sink)
            return False
        if not fill_of(connection, sink).reaches(limits):
            return False
        merges, self._merge_after[sink] = merge_some(connection, sink, self._merge_after[sink])
        changes.merges += merges
        fill = fill_of(connection, sink)
        if len(merges) >= MOST_GROUPS or not fill.reaches(limits, _RESUME_SHARE):
            return False  # there may be more to merge for the next event
        changes.became_full[sink] = fill
        return True


def fill_of(connection: sqlite3.Connection, sink: str) -> Fill:
    """Return what waits for a sink."""
    return Fill(*connection.execute("SELECT events, bytes FROM fill WHERE sink = ?", (sink,)).fetchone())


def forget_old_refusals(connection: sqlite3.Connection, sinks: Iterable[str]) -> None:
    """Forget refused incidents beyond a number, whose ends have not come. Their order is not kept."""
    for sink in sinks:
        connection.execute(
            "DELETE FROM refused_incidents WHERE sink = ? AND incident IN"
            " (SELECT incident FROM refused_incidents WHERE sink = ? LIMIT -1 OFFSET ?)",
            (sink, sink, _MOST_REFUSED),
        )
