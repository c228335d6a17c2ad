"""The part of an outbox that belongs to one sink: the events that it lacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from pipeline.alerts.outbox_capacity import OutboxListener
from pipeline.alerts.outbox_layout import DELETE_DELIVERED
from pipeline.alerts.reading import Event, explain_unreadable, read_event
from pipeline.alerts.sqlite_file import SqliteFile

#: Most events, and most bytes of their documents, that are kept set aside for a sink; the oldest go first.
_MOST_SET_ASIDE, _MOST_SET_ASIDE_BYTES = 1000, 32_000_000


class Deliveries:
    """The events of an outbox that one sink does not have yet; see :meth:`Outbox.deliveries`. Thread-safe.

    Every method raises OutboxError when the file cannot be read or written.

    Attributes:
        merges: number of merges so far: once it has changed, events read before may be gone, or have more in them.
    """

    def __init__(self, file: SqliteFile, sink: str, listener: OutboxListener) -> None:
        self._file = file
        self._listener = listener
        self.merges = 0
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

    def note_merge(self, ids: Iterable[str]) -> None:
        """Take note that pending events were merged into later ones."""
        self.merges += 1
        for identity in ids:
            self.forget(identity)

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
            self.forget(identity)

    def set_aside(self, identity: str, reason: str) -> None:
        """Set aside an event that the sink will never take; it stays in the file, with the reason.

        The dead-letter topic gets it, where there is one; see :meth:`Outbox.set_aside`.
        """
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET refused = ?"
                " WHERE sink = ? AND position = (SELECT position FROM events WHERE id = ?)",
                (reason, self.sink, identity),
            )
        self.forget(identity)
        self._drop_oldest_set_aside()

    def depth(self) -> int:
        """Return the number of events that wait for this sink."""
        return self._file.count("SELECT count(*) FROM deliveries WHERE sink = ? AND refused IS NULL", (self.sink,))

    def forget(self, identity: str) -> None:
        """Forget the times of an event that does not wait for the sink."""
        self._captured.pop(identity, None)
        self._committed.pop(identity, None)

    def _set_unreadable_aside(self, events: Iterable[tuple[int, str, str]]) -> None:
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE deliveries SET refused = ? WHERE sink = ? AND position = ?",  # the id may be damaged, too
                [(reason, self.sink, position) for position, _, reason in events],
            )
        self._drop_oldest_set_aside()

    def _drop_oldest_set_aside(self) -> None:
        """Delete the oldest events that were set aside, beyond a number and a size; the newest stays."""
        with self._file.transaction() as connection:
            dropped = connection.execute(
                "DELETE FROM deliveries WHERE sink = ? AND position IN (SELECT position FROM ("
                " SELECT position, row_number() OVER newest AS number, sum(size) OVER newest AS total FROM deliveries"
                " WHERE sink = ? AND refused IS NOT NULL WINDOW newest AS (ORDER BY position DESC))"
                " WHERE number > 1 AND (number > ? OR total > ?))",
                (self.sink, self.sink, _MOST_SET_ASIDE, _MOST_SET_ASIDE_BYTES),
            ).rowcount
            if dropped:
                connection.execute(DELETE_DELIVERED)
        if dropped:
            self._listener.dropped(self.sink, dropped)


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
