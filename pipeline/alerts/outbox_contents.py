"""An outbox in the hands of a person: a summary of its events, and the ones set aside sent again or deleted.

The worker must be stopped: one process at a time holds the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pipeline.alerts import outbox_layout
from pipeline.alerts.outbox import OutboxError
from pipeline.alerts.sqlite_file import SqliteFile


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events that wait for a sink."""

    sink: str
    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that is set aside.

    Attributes:
        reported: the dead-letter topic knows of it, without its document.
    """

    sink: str
    id: str
    reason: str
    reported: bool


class OutboxContents:
    """The file of a stopped worker; use it in a ``with`` block.

    Raises:
        OutboxError: the file is missing or cannot be used, or a process holds it.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise OutboxError(f"outbox {path}: no such file; expected the outbox.sqlite of a state folder")
        self._file = SqliteFile(path, kind="outbox", loss="its events are lost", error=OutboxError)
        try:
            self._file.lock_and_check(sync_every_commit=True)
            with self._file.transaction() as connection:
                outbox_layout.prepare(self._file, connection, ())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> OutboxContents:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def waiting(self) -> list[Waiting]:
        """Return what waits, for each sink."""
        rows = self._file.rows(
            "SELECT sink, sum(refused IS NULL), coalesce(sum(size) FILTER (WHERE refused IS NULL), 0) FROM deliveries"
            " GROUP BY sink ORDER BY sink"
        )
        return [Waiting(*row) for row in rows]

    def set_aside(self) -> list[Refused]:
        """Return the events that are set aside, oldest first."""
        rows = self._file.rows(
            "SELECT sink, CAST(id AS BLOB), refused, reported FROM deliveries JOIN events USING (position)"
            " WHERE refused IS NOT NULL ORDER BY position, sink"
        )
        return [Refused(sink, id.decode(errors="replace"), reason, bool(known)) for sink, id, reason, known in rows]

    def retry(self, ids: Sequence[str] | None) -> int:
        """Let the next run send events again that are set aside; return the number of deliveries.

        Args:
            ids: of events; None: all that are set aside.
        """
        return self._change("UPDATE deliveries SET refused = NULL, reported = 0", ids)

    def drop(self, ids: Sequence[str] | None) -> int:
        """Delete events that are set aside; as :meth:`retry`."""
        return self._change("DELETE FROM deliveries", ids)

    def _change(self, change: str, ids: Sequence[str] | None) -> int:
        statement = f"{change} WHERE refused IS NOT NULL"
        one = f"{statement} AND position = (SELECT position FROM events WHERE id = ?)"  # noqa: S608  (constants)
        with self._file.transaction() as connection:
            if ids is None:
                changed = connection.execute(statement).rowcount
            else:
                changed = sum(connection.execute(one, (identity,)).rowcount for identity in ids)
            connection.execute(outbox_layout.DELETE_DELIVERED)
        return changed
