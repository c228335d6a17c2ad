"""Merging of updates that wait in the outbox: an update stands for the earlier ones of its alert.

A merged update must not differ from what a sink has, or is about to get, under the same id. So an update that some sink
is next to send is never touched, and only updates that the same sinks lack are merged with one another. The relays send
a camera's events one after the other, so the oldest pending one is the only one that can be on its way, also after the
death of the process.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from pipeline.alerts.event import AlertEvent

#: Between the names of the sinks that lack an event; no sink's name has it.
_BETWEEN = "/"
#: Follows the name of a sink that has refused an event.
_REFUSED = "!"


#: Most groups that are merged at once, some 0.1 s: one thread accepts all events, and must not stand still for long.
MOST_GROUPS = 32

#: The updates that wait for a sink, each with the sinks that lack it, read along the index: a part costs a part.
_UPDATES = (
    "SELECT position, incident, (SELECT group_concat(sink || CASE WHEN refused IS NULL THEN '' ELSE ? END, ?)"
    " FROM deliveries AS others WHERE others.position = events.position)"
    " FROM events INDEXED BY events_incident CROSS JOIN deliveries USING (position)"
    " WHERE refused IS NULL AND sink = ? AND state = 'update'"
)
_OLDEST_PENDING = (
    "SELECT position FROM events JOIN deliveries USING (position)"
    " WHERE refused IS NULL AND camera = ? AND sink = ? ORDER BY position LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Merge:
    """Updates that were merged into a later one.

    Attributes:
        sinks: the sinks that lack them.
        ids: of the events that are gone.
    """

    sinks: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """An update that waits."""

    position: int
    incident: str
    sinks: str


def merge_alert(connection: sqlite3.Connection, sink: str, incident: str) -> list[Merge]:
    """Merge the updates of one alert that wait for ``sink``, within a transaction."""
    rows = _updates(connection, sink, "incident = ?", incident)
    return _merge_all(connection, _groups(connection, rows))


def merge_some(connection: sqlite3.Connection, sink: str, after: str) -> tuple[list[Merge], str]:
    """Merge updates that wait for ``sink``, of up to about :data:`MOST_GROUPS` alerts, within a transaction.

    Args:
        after: where the last call has stopped; at first empty.

    Returns:
        the merges, fewer than :data:`MOST_GROUPS` once nothing is left to merge; and where to continue.
    """
    found: list[list[_Row]] = []
    for first, last in ((after, None), ("", after)) if after else (("", None),):
        rows = _updates(connection, sink, "incident > ?", first)
        for incident, group in itertools.groupby(rows, lambda row: row.incident):
            if last is not None and incident > last:
                break
            found += _groups(connection, group)
            if len(found) >= MOST_GROUPS:
                return _merge_all(connection, found), incident
    return _merge_all(connection, found), ""


def _updates(connection: sqlite3.Connection, sink: str, which: str, value: str) -> Iterator[_Row]:
    """Yield the updates that wait for a sink, by alert and then oldest first."""
    query = f"{_UPDATES} AND {which} ORDER BY incident, position"
    for row in connection.execute(query, (_REFUSED, _BETWEEN, sink, value)):
        yield _Row(*row)


def _groups(connection: sqlite3.Connection, updates: Iterable[_Row]) -> list[list[_Row]]:
    """Return the groups of two or more updates of one alert that can become one, each oldest first."""
    rows = list(updates)
    if len(rows) < 2:
        return []
    heads = _heads(connection, rows[0].incident)
    grouped = itertools.groupby(rows, lambda row: _group_key(row, heads))
    return [group for _, found in grouped if len(group := list(found)) > 1]


def _group_key(row: _Row, heads: set[int]) -> tuple[str, int]:
    """Return a key that is equal for neighbouring updates that can be merged."""
    alone = row.position in heads or _REFUSED in row.sinks
    return row.sinks, row.position if alone else 0


def _heads(connection: sqlite3.Connection, incident: str) -> set[int]:
    """Return the positions of the events of an incident's camera that some sink is next to send."""
    [camera] = connection.execute("SELECT camera FROM events WHERE incident = ? LIMIT 1", (incident,)).fetchone()
    sinks = connection.execute("SELECT sink FROM fill").fetchall()
    rows = (row for (sink,) in sinks for row in connection.execute(_OLDEST_PENDING, (camera, sink)))
    return {position for (position,) in rows}


def _merge_all(connection: sqlite3.Connection, groups: Iterable[Sequence[_Row]]) -> list[Merge]:
    return [merge for group in groups if (merge := _merge(connection, group)) is not None]


def _merge(connection: sqlite3.Connection, group: Sequence[_Row]) -> Merge | None:
    """Merge a group into its newest update; None where one cannot be read, or they are of two workers or segments."""
    try:
        events = list(_read(connection, group))
    except ValidationError:
        return None
    if len({(event.data.generation, event.data.last_segment) for event in events}) > 1:
        return None
    *earlier, newest = events
    document = newest.absorbing(earlier).to_json()
    position = group[-1].position
    connection.execute("UPDATE events SET document = ? WHERE position = ?", (document.decode(), position))
    connection.execute("UPDATE deliveries SET size = ? WHERE position = ?", (len(document), position))
    gone = [(row.position,) for row in group[:-1]]
    connection.executemany("DELETE FROM deliveries WHERE position = ?", gone)
    connection.executemany("DELETE FROM events WHERE position = ?", gone)
    return Merge(tuple(group[-1].sinks.split(_BETWEEN)), tuple(event.id for event in earlier))


def _read(connection: sqlite3.Connection, group: Sequence[_Row]) -> Iterator[AlertEvent]:
    for row in group:
        query = "SELECT CAST(document AS BLOB) FROM events WHERE position = ?"
        (document,) = connection.execute(query, (row.position,)).fetchone()
        yield AlertEvent.model_validate_json(document)
