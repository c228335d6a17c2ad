"""A SQLite file that one process holds: every failure is one line that names the file and what to do."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import MistwatchError

#: The write-ahead log is cut down to this size once its content is in the file.
_LOG_BYTES = 4 << 20


class SqliteFile:
    """A file with a write-ahead log; errors of every method are ``error``. Thread-safe.

    Args:
        path: the file; it and its folder are created when missing. None: in memory.
        kind: names it in messages, e.g. ``outbox``.
        loss: what is lost with a damaged file, for the message.
        error: raised for every failure.
    """

    def __init__(self, path: Path | None, *, kind: str, loss: str, error: type[MistwatchError]) -> None:
        self._name = kind if path is None else f"{kind} {path}"
        self._path = path
        self._error = error
        self._lock = threading.RLock()
        #: SQLite's names of the errors that an operator can do something about, and what to do.
        self._advice = {
            "SQLITE_NOTADB": f"is not an {kind} file; move it away or name another state folder",
            "SQLITE_CORRUPT": f"is damaged; move it away to start a new one ({loss})",
            "SQLITE_BUSY": "is in use by another process; give each run a state folder of its own",
            "SQLITE_FULL": "cannot grow: the disk is full",
            "SQLITE_READONLY": "cannot be written; check its permissions",
            "SQLITE_CANTOPEN": "cannot be opened; check that the folder exists and can be written",
        }
        with self.explained():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # No implicit transactions: transaction() opens and closes them.
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=1.0, isolation_level=None, check_same_thread=False
            )

    def lock_and_check(self, *, sync_every_commit: bool) -> None:
        """Keep other processes away from the file until it is closed, and check that it is whole.

        Args:
            sync_every_commit: a commit survives a power cut. Otherwise the last ones may be lost, in order.
        """
        with self.explained():
            run = self._connection.execute
            run("PRAGMA locking_mode = EXCLUSIVE")  # held until close or death: a second process is refused
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA journal_size_limit = {_LOG_BYTES}")  # else the log keeps the size of the largest transaction
            run(f"PRAGMA synchronous = {'FULL' if sync_every_commit else 'NORMAL'}")  # FULL: fsync of the log
            if run("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise self._error(f"{self._name} {self._advice['SQLITE_CORRUPT']}")

    def prepare(self, connection: sqlite3.Connection, schema: Iterable[str], *, layout: int) -> int:
        """Create missing tables, and return the layout that the file had; 0 for a new file.

        Args:
            connection: of a :meth:`transaction`.
            layout: of this version, written into the file.
        """
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > layout:
            raise self._error(
                f"{self._name}: written by a later version of mistwatch (layout {found}; expected at most "
                f"{layout}); use that version, or move the file away"
            )
        for statement in schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {layout}")
        return found

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def count(self, query: str, values: tuple[str, ...] = ()) -> int:
        """Return the one number that a query gives."""
        with self._lock, self.explained():
            return int(self._connection.execute(query, values).fetchone()[0])

    def rows(self, query: str, values: tuple[str | int, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a query gives."""
        with self._lock, self.explained():
            return self._connection.execute(query, values).fetchall()

    def size_bytes(self) -> int:
        """Return the size on the disk, the write-ahead log included; 0 in memory."""
        if self._path is None:
            return 0
        total = 0
        for path in (self._path, self._path.with_name(f"{self._path.name}-wal")):
            with self.explained(), contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit everything in the block at once, or nothing."""
        with self._lock, self.explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the block into the file's own."""
        try:
            yield
        except OSError as error:
            raise self._error(f"{self._name}: {error.strerror}") from None
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")  # e.g. SQLITE_READONLY_DIRECTORY
            advice = next(
                (text for code, text in self._advice.items() if name.startswith(code)), f"cannot be used: {error}"
            )
            raise self._error(f"{self._name} {advice}") from None
