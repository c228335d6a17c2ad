"""The durable outbox: an event is accepted when it is committed here, and leaves when every sink has it.

SQLite with a write-ahead log and an fsync on every commit. One process at a time may hold an outbox: two relays of one
sink would mix the order of a camera's events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import logs
from pipeline.alerts import outbox_layout
from pipeline.alerts.deliveries import Deliveries
from pipeline.alerts.outbox_capacity import (
    Capacity,
    Changes,
    Entry,
    Fill,
    OutboxLimits,
    OutboxListener,
    forget_old_refusals,
)
from pipeline.alerts.reading import Event
from pipeline.alerts.sqlite_file import SqliteFile
from pipeline.errors import MistwatchError

_log = logs.get("outbox")


class OutboxError(MistwatchError):
    """The outbox cannot be opened, read or written. One line that names the file."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """An event that a sink will never take.

    Attributes:
        position: of the event in the outbox.
        document: as it is stored; it may be damaged.
        reason: why it was set aside, one line.
    """

    sink: str
    position: int
    id: str
    document: bytes
    reason: str


class Outbox:
    """Accepted events that some sink does not have yet, in the order of their acceptance. Thread-safe.

    Each event is stored once, with a row for each sink that lacks it. A sink that the file does not know yet receives
    the events that are accepted from now on. A sink of the file that is not among ``sinks`` any more is forgotten, and
    so are its pending events; the log says how many. An outbox of an earlier version is converted when it is opened.

    Where too much waits for a sink, updates of one alert merge; where that is not enough, the sink does not get new
    alerts. See :mod:`pipeline.alerts.outbox_capacity`.

    Args:
        path: the file; it and its folder are created when missing.
        sinks: names of the sinks that are to receive every event, at least one.
        limits: most that waits for each sink; None: any number.
        listener: hears of merged and refused events.

    Raises:
        OutboxError: not an outbox, damaged, not writable, held by another process, or written by a later version.
        ValueError: ``sinks`` is empty.
    """

    def __init__(
        self,
        path: Path,
        sinks: Iterable[str],
        *,
        limits: OutboxLimits | None = None,
        listener: OutboxListener | None = None,
    ) -> None:
        self.path = path
        self._sinks = tuple(sinks)
        if not self._sinks:
            raise ValueError("an outbox needs at least one sink")
        self._listener = listener or OutboxListener()
        self._capacity = Capacity(self._sinks, limits)
        self._file = SqliteFile(path, kind="outbox", loss="its events are lost", error=OutboxError)
        self._deliveries = {sink: Deliveries(self._file, sink, self._listener) for sink in self._sinks}
        try:
            self._file.lock_and_check(sync_every_commit=True)
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def accept(self, event: Event) -> bool | None:
        """Commit the event; it survives the death of this process once this returns.

        Returns:
            False when an event with this id is in the outbox already; None when no sink gets it, because too much waits
            for each of them.

        Raises:
            OutboxError: it could not be committed and is not accepted.
        """
        for deliveries in self._deliveries.values():  # before the relay can see the event
            deliveries.note_capture(event)
        entry, changes = Entry.of(event), Changes()
        with self._file.transaction() as connection:
            if connection.execute("SELECT 1 FROM events WHERE id = ?", (event.id,)).fetchone():
                return False
            takers = self._capacity.takers(connection, entry, changes)
            if takers:
                _insert(connection, entry, takers)
                self._capacity.make_room(connection, entry, takers, changes)
        self._capacity.commit(changes)
        for sink, deliveries in self._deliveries.items():
            if sink in takers:
                deliveries.note_commit(event.id)
            else:
                deliveries.forget(event.id)
        self._report(event, changes)
        return True if takers else None

    def deliveries(self, sink: str) -> Deliveries:
        """Return the part of the outbox that belongs to one of its sinks."""
        if sink not in self._sinks:
            raise ValueError(f"sink must be one of {', '.join(self._sinks)}, got {sink!r}")
        return self._deliveries[sink]

    def depth(self) -> int:
        """Return the number of events that some sink has not acknowledged; events set aside do not count."""
        return self._file.count("SELECT count(DISTINCT position) FROM deliveries WHERE refused IS NULL")

    def fill(self, sink: str) -> Fill:
        """Return what waits for a sink."""
        [(events, size)] = self._file.rows("SELECT events, bytes FROM fill WHERE sink = ?", (sink,))
        return Fill(events, size)

    def size_bytes(self) -> int:
        """Return the size of the file on the disk, its log included."""
        return self._file.size_bytes()

    def set_aside(self, limit: int = 100) -> list[SetAside]:
        """Return the oldest events that were set aside and are not reported yet; see :meth:`report_set_aside`."""
        rows = self._file.rows(
            "SELECT sink, position, CAST(id AS BLOB), CAST(document AS BLOB), refused FROM deliveries"
            " JOIN events USING (position) WHERE refused IS NOT NULL AND NOT reported ORDER BY position, sink LIMIT ?",
            (limit,),
        )
        return [
            SetAside(sink, position, identity.decode(errors="replace"), document, reason)
            for sink, position, identity, document, reason in rows
        ]

    def report_set_aside(self, events: Iterable[SetAside], *, keep: bool = False) -> None:
        """Record that a dead-letter topic has events that were set aside.

        Args:
            keep: the topic knows of them, and does not have their documents: they stay in the file.
        """
        rows = [(each.sink, each.position) for each in events]
        change = "UPDATE deliveries SET reported = 1" if keep else "DELETE FROM deliveries"
        with self._file.transaction() as connection:
            connection.executemany(f"{change} WHERE sink = ? AND position = ?", rows)
            connection.executemany(
                "DELETE FROM events WHERE position = ? AND position NOT IN (SELECT position FROM deliveries)",
                [(position,) for _, position in rows],
            )

    def close(self) -> None:
        """Release the file. Using the outbox afterwards raises OutboxError."""
        self._file.close()

    def _report(self, event: Event, changes: Changes) -> None:
        """Report the changes of a transaction that is committed."""
        for merge in changes.merges:
            for sink in merge.sinks:
                self._deliveries[sink].note_merge(merge.ids)
                self._listener.merged(sink, len(merge.ids))
        for sink, fill in changes.became_full.items():
            self._listener.full(sink, fill)
        for sink in changes.has_room:
            self._listener.has_room(sink)
        for sink in changes.refused:
            self._listener.refused(sink, event)

    def _prepare(self) -> None:
        """Bring the file to this version's layout, and to the configured sinks."""
        with self._file.transaction() as connection:
            outbox_layout.prepare(self._file, connection, self._sinks)
            self._forget_other_sinks(connection)
            forget_old_refusals(connection, self._sinks)

    def _forget_other_sinks(self, connection: sqlite3.Connection) -> None:
        """Delete the rows of sinks that are not configured any more, so that events can leave the file."""
        marks = ", ".join("?" * len(self._sinks))
        others = connection.execute(
            f"SELECT sink, count(*) FROM deliveries WHERE sink NOT IN ({marks}) GROUP BY sink",  # noqa: S608  (marks)
            self._sinks,
        ).fetchall()
        for sink, count in others:
            connection.execute("DELETE FROM deliveries WHERE sink = ?", (sink,))
            _log.warning("a sink is not configured any more; its events are dropped", sink=sink, events=count)
        refusals = f"DELETE FROM refused_incidents WHERE sink NOT IN ({marks})"  # noqa: S608  (marks)
        connection.execute(refusals, self._sinks)
        connection.execute(outbox_layout.DELETE_DELIVERED)


def _insert(connection: sqlite3.Connection, entry: Entry, sinks: Sequence[str]) -> None:
    """Write an event, and a row for each sink that gets it."""
    event = entry.event
    added = connection.execute(
        "INSERT INTO events (id, document, camera, incident, state) VALUES (?, ?, ?, ?, ?)",
        (event.id, entry.document, event.subject, entry.incident, entry.state),
    )
    size = len(entry.document.encode())
    rows = [(sink, added.lastrowid, size) for sink in sinks]
    connection.executemany("INSERT INTO deliveries (sink, position, size) VALUES (?, ?, ?)", rows)
