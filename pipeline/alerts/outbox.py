"""The durable outbox: an alert event is accepted when it is committed here, and leaves when the topic has it.

SQLite with a write-ahead log and an fsync on every commit. One process at a time may hold an outbox: two relays over
one file would mix the order of a camera's events.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from pipeline.alerts.event import AlertEvent
from pipeline.errors import MistwatchError

#: Written into the file; another number is another layout.
_LAYOUT = 1

#: What SQLite calls the errors that an operator can do something about, and what to do.
_ADVICE = {
    "SQLITE_NOTADB": "is no outbox; move it away or name another state folder",
    "SQLITE_CORRUPT": "is damaged; move it away to start a new one (its events are lost)",
    "SQLITE_BUSY": "is in use by another process; give each run a state folder of its own",
    "SQLITE_FULL": "cannot grow: the disk is full",
    "SQLITE_READONLY": "cannot be written; check its permissions",
    "SQLITE_CANTOPEN": "cannot be opened; check that the folder exists and can be written",
}


class OutboxError(MistwatchError):
    """The outbox cannot be opened, read or written. One line that names the file."""


class Outbox:
    """Events that are accepted and not yet delivered, in the order of their acceptance. Thread-safe.

    Args:
        path: the file; it and its folder are created when missing.

    Raises:
        OutboxError: no outbox, damaged, not writable, or held by another process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            # No implicit transactions: every statement below is one.
            self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")  # held until close or death: a second process is refused
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")  # fsync of the log on every commit
        run("BEGIN EXCLUSIVE")
        layout = run("PRAGMA user_version").fetchone()[0]
        if layout not in (0, _LAYOUT):
            raise OutboxError(f"outbox {self.path} has layout {layout}, expected {_LAYOUT}: a newer version wrote it")
        run(
            "CREATE TABLE IF NOT EXISTS events ("
            " position INTEGER PRIMARY KEY AUTOINCREMENT,"
            " id TEXT NOT NULL UNIQUE,"
            " document TEXT NOT NULL,"
            " refused TEXT)"  # why the broker will never take it; NULL for what is pending
        )
        run(f"PRAGMA user_version = {_LAYOUT}")
        run("COMMIT")
        verdict = run("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise OutboxError(f"outbox {self.path} {_ADVICE['SQLITE_CORRUPT']}")

    def accept(self, event: AlertEvent) -> bool:
        """Commit the event; it survives this process' death once this returns. False: its id was there already.

        Raises:
            OutboxError: it could not be committed and is not accepted.
        """
        with self._lock, self._explained():
            cursor = self._connection.execute(
                "INSERT OR IGNORE INTO events (id, document) VALUES (?, ?)", (event.id, event.to_json().decode())
            )
            return cursor.rowcount == 1

    def pending(self, limit: int = 500) -> list[AlertEvent]:
        """The oldest ``limit`` events that are neither delivered nor refused, oldest first."""
        with self._lock, self._explained():
            rows = self._connection.execute(
                "SELECT id, document FROM events WHERE refused IS NULL ORDER BY position LIMIT ?", (limit,)
            ).fetchall()
        return [self._parsed(identity, document) for identity, document in rows]

    def delivered(self, ids: Iterable[str]) -> None:
        """Forget events that the topic has."""
        self._change("DELETE FROM events WHERE id = ?", [(identity,) for identity in ids])

    def refuse(self, identity: str, reason: str) -> None:
        """Set an event aside that the broker will never take; it stays in the file, with the reason, for a person."""
        self._change("UPDATE events SET refused = ? WHERE id = ?", [(reason, identity)])

    def depth(self) -> int:
        """How many events wait to be delivered."""
        with self._lock, self._explained():
            row = self._connection.execute("SELECT count(*) FROM events WHERE refused IS NULL").fetchone()
        return int(row[0])

    def close(self) -> None:
        """Release the file. Using the outbox afterwards raises OutboxError."""
        with self._lock:
            self._connection.close()

    def _change(self, statement: str, rows: list[tuple[str, ...]]) -> None:
        """All rows in one commit, so one fsync."""
        if not rows:
            return
        with self._lock, self._explained():
            self._connection.execute("BEGIN")
            try:
                self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def _parsed(self, identity: str, document: str) -> AlertEvent:
        try:
            return AlertEvent.model_validate_json(document)
        except ValidationError:
            raise OutboxError(f"outbox {self.path}: event {identity} is not one that this version can read") from None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutboxError(f"outbox {self.path}: {error.strerror}") from None
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")  # e.g. SQLITE_READONLY_DIRECTORY
            advice = next((text for code, text in _ADVICE.items() if name.startswith(code)), f"cannot be used: {error}")
            raise OutboxError(f"outbox {self.path} {advice}") from None
