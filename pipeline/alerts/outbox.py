"""The durable outbox: an event is accepted when it is committed here, and leaves when every sink has it.

SQLite with a write-ahead log and an fsync on every commit. One process at a time may hold an outbox: two relays of one
sink would mix the order of a camera's events.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from pipeline import logs
from pipeline.alerts.reading import Event, explain_unreadable, read_event
from pipeline.alerts.sqlite_file import SqliteFile
from pipeline.errors import MistwatchError

_log = logs.get("outbox")

#: Written into the file; another number means another layout. Layout 1 (mistwatch 0.1.0) had one table and one sink,
#: Kafka: a row was deleted when the topic had the event.
_LAYOUT = 2

# A camera's events leave in order, but cameras do not wait for one another: the events that a sink lacks are a set, not
# everything after a number. One row for each of them is that sink's position.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS events ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " document TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS deliveries ("
    " sink TEXT NOT NULL,"
    " position INTEGER NOT NULL,"  # of the event
    " refused TEXT,"  # why the sink will never take it; NULL while it is pending
    " PRIMARY KEY (sink, position)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS deliveries_position ON deliveries (position)",
)
_FROM_LAYOUT_1 = (
    "INSERT INTO deliveries (sink, position, refused) SELECT 'kafka', position, refused FROM events",
    "ALTER TABLE events DROP COLUMN refused",
)
_DELETE_DELIVERED = "DELETE FROM events WHERE position NOT IN (SELECT position FROM deliveries)"


class OutboxError(MistwatchError):
    """The outbox cannot be opened, read or written. One line that names the file."""


class Outbox:
    """Accepted events that some sink does not have yet, in the order of their acceptance. Thread-safe.

    Each event is stored once, with a row for each sink that lacks it. A sink that the file does not know yet receives
    the events that are accepted from now on. A sink of the file that is not among ``sinks`` any more is forgotten, and
    so are its pending events; the log says how many. An outbox of an earlier version is converted when it is opened.

    Args:
        path: the file; it and its folder are created when missing.
        sinks: names of the sinks that are to receive every event, at least one.

    Raises:
        OutboxError: not an outbox, damaged, not writable, held by another process, or written by a later version.
        ValueError: ``sinks`` is empty.
    """

    def __init__(self, path: Path, sinks: Iterable[str]) -> None:
        self.path = path
        self._sinks = tuple(sinks)
        if not self._sinks:
            raise ValueError("an outbox needs at least one sink")
        self._file = SqliteFile(path, kind="outbox", loss="its events are lost", error=OutboxError)
        self._deliveries = {sink: Deliveries(self._file, sink) for sink in self._sinks}
        try:
            self._file.lock_and_check(sync_every_commit=True)
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def accept(self, event: Event) -> bool:
        """Commit the event; it survives the death of this process once this returns.

        Returns:
            False when an event with this id is in the outbox already.

        Raises:
            OutboxError: it could not be committed and is not accepted.
        """
        for deliveries in self._deliveries.values():  # before the relay can see the event
            deliveries.note_capture(event)
        with self._file.transaction() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO events (id, document) VALUES (?, ?)", (event.id, event.to_json().decode())
            )
            if added.rowcount == 0:
                return False
            rows = [(sink, added.lastrowid) for sink in self._sinks]
            connection.executemany("INSERT INTO deliveries (sink, position) VALUES (?, ?)", rows)
        for deliveries in self._deliveries.values():
            deliveries.note_commit(event.id)
        return True

    def deliveries(self, sink: str) -> Deliveries:
        """Return the part of the outbox that belongs to one of its sinks."""
        if sink not in self._sinks:
            raise ValueError(f"sink must be one of {', '.join(self._sinks)}, got {sink!r}")
        return self._deliveries[sink]

    def depth(self) -> int:
        """Return the number of events that some sink has not acknowledged; events set aside do not count."""
        return self._file.count("SELECT count(DISTINCT position) FROM deliveries WHERE refused IS NULL")

    def close(self) -> None:
        """Release the file. Using the outbox afterwards raises OutboxError."""
        self._file.close()

    def _prepare(self) -> None:
        """Bring the file to this version's layout, and to the configured sinks."""
        with self._file.transaction() as connection:
            if self._file.prepare(connection, _SCHEMA, layout=_LAYOUT) == 1:
                for statement in _FROM_LAYOUT_1:
                    connection.execute(statement)
            self._forget_other_sinks(connection)

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
        connection.execute(_DELETE_DELIVERED)


class Deliveries:
    """The events of an outbox that one sink does not have yet; made by :meth:`Outbox.deliveries`. Thread-safe.

    Every method raises OutboxError when the file cannot be read or written.
    """

    def __init__(self, file: SqliteFile, sink: str) -> None:
        self._file = file
        self._captured: dict[str, float] = {}  # pending events of this process: when the last frame was received
        self._committed: dict[str, float] = {}  # the same events: when they were committed
        self.sink = sink  #: the sink's name

    def note_capture(self, event: Event) -> None:
        """Remember when the event's last frame was received, which the file does not know, until it is delivered."""
        if event.captured_monotonic is not None:
            self._captured[event.id] = event.captured_monotonic

    def note_commit(self, identity: str) -> None:
        """Remember when a pending event whose capture is known was committed: now."""
        self._committed[identity] = time.monotonic()
        if identity not in self._captured:  # unknown, or delivered meanwhile
            self._committed.pop(identity, None)

    def committed_monotonic(self, identity: str) -> float | None:
        """Return when a pending event was committed, seconds of this process's monotonic clock; None if unknown."""
        return self._committed.get(identity)

    def pending(self, limit: int = 500, *, on_unreadable: Callable[[str, str], None] | None = None) -> list[Event]:
        """Return the oldest ``limit`` events that the sink neither has nor refused, oldest first.

        Events among them that this version cannot read are set aside for the sink: damaged ones, and those of a type
        that a later version has added. They hold up no other event.

        Args:
            on_unreadable: receives the id of each event that was set aside, and the reason.
        """
        while True:
            # As bytes: SQLite checks no encoding, and one damaged text would fail the whole query.
            rows = self._file.rows(
                "SELECT position, CAST(id AS BLOB), CAST(document AS BLOB) FROM events JOIN deliveries USING (position)"
                " WHERE sink = ? AND refused IS NULL ORDER BY position LIMIT ?",
                (self.sink, limit),
            )
            events: list[Event] = []
            unreadable: list[tuple[int, str, str]] = []  # position, id, reason
            for position, stored, document in rows:
                identity = stored.decode(errors="replace")
                event = _event_or_reason(identity, document)
                if isinstance(event, str):
                    unreadable.append((position, identity, event))
                else:
                    events.append(event.captured(self._captured.get(identity)))
            if unreadable:
                self._set_unreadable_aside(unreadable)
            for _, identity, reason in unreadable:
                if on_unreadable is not None:
                    on_unreadable(identity, reason)
            if events or not rows:
                return events

    def delivered(self, ids: Iterable[str]) -> None:
        """Record that the sink has these events. An event that every sink has leaves the file."""
        rows = [(identity,) for identity in ids]
        if not rows:
            return
        position = "(SELECT position FROM events WHERE id = ?)"
        with self._file.transaction() as connection:
            connection.executemany(
                f"DELETE FROM deliveries WHERE sink = ? AND position = {position}",  # noqa: S608  (a constant)
                [(self.sink, *row) for row in rows],
            )
            connection.executemany(
                "DELETE FROM events WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.position = events.position)",
                rows,
            )
        for (identity,) in rows:
            self._forget(identity)

    def set_aside(self, identity: str, reason: str) -> None:
        """Set aside an event that the sink will never take; it stays in the file, with the reason, for a person."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET refused = ?"
                " WHERE sink = ? AND position = (SELECT position FROM events WHERE id = ?)",
                (reason, self.sink, identity),
            )
        self._forget(identity)

    def depth(self) -> int:
        """Return the number of events that wait for this sink."""
        return self._file.count("SELECT count(*) FROM deliveries WHERE sink = ? AND refused IS NULL", (self.sink,))

    def _forget(self, identity: str) -> None:
        self._captured.pop(identity, None)
        self._committed.pop(identity, None)

    def _set_unreadable_aside(self, events: Iterable[tuple[int, str, str]]) -> None:
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE deliveries SET refused = ? WHERE sink = ? AND position = ?",  # the id may be damaged, too
                [(reason, self.sink, position) for position, _, reason in events],
            )


def _event_or_reason(identity: str, document: bytes) -> Event | str:
    """Return the event of a row, or why this version cannot read it."""
    try:
        event = read_event(document)
    except ValidationError as error:
        reason = explain_unreadable(error)
    else:
        if event.id == identity:
            return event
        reason = f"its id is {event.id} in the document"  # an acknowledgement would not find the row
    return f"this version of mistwatch cannot read it: {reason}"
