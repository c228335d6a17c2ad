"""The tables of an outbox's file, and the conversion of earlier layouts.

Layout 1 (mistwatch 0.1.0) had one table and one sink, Kafka: a row was deleted when the topic had the event. Layout 2
(0.2.0) had no limits, and so no columns to find the updates of an alert.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from pipeline.alerts.sqlite_file import SqliteFile

#: Written into the file; another number means another layout.
LAYOUT = 3

# A camera's events leave in order, but cameras do not wait for one another: the events that a sink lacks are a set, not
# everything after a number. One row for each of them is that sink's position.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS events ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE,"
    " document TEXT NOT NULL,"
    " camera TEXT,"
    " incident TEXT,"  # the alert or drift that it belongs to; NULL for an event of its own
    " state TEXT)",  # begin, update, end; NULL as the incident
    "CREATE TABLE IF NOT EXISTS deliveries ("
    " sink TEXT NOT NULL,"
    " position INTEGER NOT NULL,"  # of the event
    " refused TEXT,"  # why the sink will never take it; NULL while it is pending
    " size INTEGER NOT NULL DEFAULT 0,"  # bytes of the event's document
    " reported INTEGER NOT NULL DEFAULT 0,"  # 1: refused, and the dead-letter topic knows it, without the document
    " PRIMARY KEY (sink, position)) WITHOUT ROWID",
    # The sums over each sink's pending rows, kept by triggers: counting 100,000 rows for each event would be slow.
    "CREATE TABLE IF NOT EXISTS fill ("
    " sink TEXT PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    # Incidents whose begin was refused for want of room: the sink does not get their later events either.
    "CREATE TABLE IF NOT EXISTS refused_incidents ("
    " sink TEXT NOT NULL, incident TEXT NOT NULL, PRIMARY KEY (sink, incident)) WITHOUT ROWID",
)
_COLUMNS_OF_EVENTS = ("camera TEXT", "incident TEXT", "state TEXT")
_COLUMNS_OF_DELIVERIES = ("size INTEGER NOT NULL DEFAULT 0", "reported INTEGER NOT NULL DEFAULT 0")
_FROM_LAYOUT_1 = (
    "INSERT INTO deliveries (sink, position, refused) SELECT 'kafka', position, refused FROM events",
    "ALTER TABLE events DROP COLUMN refused",
)
_FILL_COLUMNS = (
    "UPDATE events SET camera = json_extract(document, '$.subject'), state = json_extract(document, '$.data.state'),"
    " incident = coalesce(json_extract(document, '$.data.alert_id'), json_extract(document, '$.data.drift_id'))"
    " WHERE json_valid(document)",
    "UPDATE deliveries SET size = (SELECT length(CAST(document AS BLOB)) FROM events"
    " WHERE events.position = deliveries.position)",
)
_PLUS = "UPDATE fill SET events = events + 1, bytes = bytes + NEW.size WHERE sink = NEW.sink"
_MINUS = "UPDATE fill SET events = events - 1, bytes = bytes - OLD.size WHERE sink = OLD.sink"
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS deliveries_position ON deliveries (position)",
    "CREATE INDEX IF NOT EXISTS events_incident ON events (incident)",
    "CREATE INDEX IF NOT EXISTS events_camera ON events (camera)",
    f"CREATE TRIGGER IF NOT EXISTS fill_added AFTER INSERT ON deliveries WHEN NEW.refused IS NULL BEGIN {_PLUS}; END",
    "CREATE TRIGGER IF NOT EXISTS fill_removed AFTER DELETE ON deliveries"
    f" WHEN OLD.refused IS NULL BEGIN {_MINUS}; END",
    "CREATE TRIGGER IF NOT EXISTS fill_set_aside AFTER UPDATE OF refused ON deliveries"
    f" WHEN OLD.refused IS NULL AND NEW.refused IS NOT NULL BEGIN {_MINUS}; END",
    "CREATE TRIGGER IF NOT EXISTS fill_taken_back AFTER UPDATE OF refused ON deliveries"
    f" WHEN OLD.refused IS NOT NULL AND NEW.refused IS NULL BEGIN {_PLUS}; END",
    "CREATE TRIGGER IF NOT EXISTS fill_resized AFTER UPDATE OF size ON deliveries WHEN NEW.refused IS NULL BEGIN"
    " UPDATE fill SET bytes = bytes + NEW.size - OLD.size WHERE sink = NEW.sink; END",
)

#: Delete the events that no sink lacks.
DELETE_DELIVERED = "DELETE FROM events WHERE position NOT IN (SELECT position FROM deliveries)"


def prepare(file: SqliteFile, connection: sqlite3.Connection, sinks: Iterable[str]) -> None:
    """Bring the file to this version's layout, within a transaction; count what waits for each sink."""
    found = file.prepare(connection, _TABLES, layout=LAYOUT)
    if found in (1, 2):
        _add_columns(connection, "events", _COLUMNS_OF_EVENTS)
        _add_columns(connection, "deliveries", _COLUMNS_OF_DELIVERIES)
        for statement in (_FROM_LAYOUT_1 if found == 1 else ()) + _FILL_COLUMNS:
            connection.execute(statement)
    for statement in _INDEXES:
        connection.execute(statement)
    connection.execute("DELETE FROM fill")
    for sink in sinks:
        connection.execute(
            "INSERT INTO fill SELECT ?, count(*), coalesce(sum(size), 0) FROM deliveries"
            " WHERE sink = ? AND refused IS NULL",
            (sink, sink),
        )


def _add_columns(connection: sqlite3.Connection, table: str, columns: Iterable[str]) -> None:
    """Add the columns that a table of an earlier layout lacks."""
    known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    for column in columns:
        if column.split()[0] not in known:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
