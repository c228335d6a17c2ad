"""Merging of updates that wait in the outbox: an update stands for the earlier ones of its alert.

A merged update must not differ from what a sink has, or is about to get, under the same id. So an update that some sink
is next to send is never touched, and only updates that the same sinks lack are merged with one another. The relays send
a camera's events one after the other, so the oldest pending one is the only one that can be on its way, also after the
death of the process.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from pipeline.alerts.event import AlertEvent

#: Between the names of the sinks that lack an event; no sink's name has it.
_BETWEEN = "/"
#: Follows the name of a sink that has refused an event.
_REFUSED = "!"


_PENDING = "FROM events JOIN deliveries USING (position) WHERE refused IS NULL"
#: The updates that wait for a sink, each with the sinks that lack it.
_UPDATES = (
    "SELECT position, incident, (SELECT group_concat(sink || CASE WHEN refused IS NULL THEN '' ELSE ? END, ?)"  # noqa: S608
    " FROM deliveries AS others WHERE others.position = events.position)"
    f" {_PENDING} AND sink = ? AND state = 'update' AND incident IS NOT NULL"
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


def merge_updates(connection: sqlite3.Connection, sink: str, incident: str | None = None) -> list[Merge]:
    """Merge the updates that wait for ``sink``, within a transaction.

    Args:
        incident: only those of this alert; None: of every alert.
    """
    return [merge for run in _runs(connection, sink, incident) if (merge := _merge(connection, run)) is not None]


def _runs(connection: sqlite3.Connection, sink: str, incident: str | None) -> list[list[_Row]]:
    """Return the groups of two or more updates that can become one, each oldest first."""
    values = (_REFUSED, _BETWEEN, sink)
    if incident is None:
        rows = connection.execute(f"{_UPDATES} ORDER BY incident, position", values)
    else:
        rows = connection.execute(f"{_UPDATES} AND incident = ? ORDER BY position", (*values, incident))
    updates = [_Row(*row) for row in rows]
    if len(updates) < 2:
        return []
    heads = _heads(connection, incident)
    keyed = itertools.groupby(updates, lambda row: _run_key(row, heads))
    return [run for _, group in keyed if len(run := list(group)) > 1]


def _run_key(row: _Row, heads: set[int]) -> tuple[str, str, int]:
    """Return a key that is equal for neighbouring updates that can be merged."""
    alone = row.position in heads or _REFUSED in row.sinks
    return row.incident, row.sinks, row.position if alone else 0


def _heads(connection: sqlite3.Connection, incident: str | None) -> set[int]:
    """Return the positions of the events that some sink is next to send, of every camera or of the incident's."""
    if incident is None:
        rows = connection.execute(f"SELECT min(position) {_PENDING} GROUP BY sink, camera").fetchall()
    else:
        [camera] = connection.execute("SELECT camera FROM events WHERE incident = ? LIMIT 1", (incident,)).fetchone()
        oldest = f"SELECT position {_PENDING} AND camera = ? AND sink = ? ORDER BY position LIMIT 1"
        sinks = connection.execute("SELECT sink FROM fill").fetchall()
        rows = [row for (sink,) in sinks for row in connection.execute(oldest, (camera, sink))]
    return {position for (position,) in rows}


def _merge(connection: sqlite3.Connection, run: Sequence[_Row]) -> Merge | None:
    """Merge a run into its newest update; None where one of them cannot be read."""
    try:
        events = list(_read(connection, run))
    except ValidationError:
        return None
    *earlier, newest = events
    document = newest.absorbing(earlier).to_json()
    position = run[-1].position
    connection.execute("UPDATE events SET document = ? WHERE position = ?", (document.decode(), position))
    connection.execute("UPDATE deliveries SET size = ? WHERE position = ?", (len(document), position))
    gone = [(row.position,) for row in run[:-1]]
    connection.executemany("DELETE FROM deliveries WHERE position = ?", gone)
    connection.executemany("DELETE FROM events WHERE position = ?", gone)
    return Merge(tuple(run[-1].sinks.split(_BETWEEN)), tuple(event.id for event in earlier))


def _read(connection: sqlite3.Connection, run: Sequence[_Row]) -> Iterator[AlertEvent]:
    for row in run:
        query = "SELECT CAST(document AS BLOB) FROM events WHERE position = ?"
        (document,) = connection.execute(query, (row.position,)).fetchone()
        yield AlertEvent.model_validate_json(document)
