"""The SQLite file of an alert history: rows in, rows out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
from pydantic import ValidationError

from operators.grouping import Embedding, checked_embedding
from pipeline import logs
from pipeline.alerts.judgement import JudgementData
from pipeline.alerts.reading import explain_unreadable
from pipeline.alerts.sqlite_file import SqliteFile
from pipeline.errors import MistwatchError

_log = logs.get("history")

#: Written into the file; another number means another layout.
_LAYOUT = 1

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS alerts ("
    " ordinal INTEGER PRIMARY KEY AUTOINCREMENT,"  # in the order in which they joined their groups
    " alert_id TEXT NOT NULL UNIQUE,"
    " camera TEXT NOT NULL,"
    " started_at REAL,"  # POSIX seconds, NULL when unknown
    " seen_at REAL NOT NULL,"
    " sequence INTEGER NOT NULL,"
    " group_id TEXT NOT NULL,"
    " muted INTEGER NOT NULL,"
    " evidence TEXT NOT NULL,"  # a JSON list
    " embedding BLOB NOT NULL)",  # little-endian float32
    "CREATE TABLE IF NOT EXISTS groups (group_id TEXT PRIMARY KEY, size INTEGER NOT NULL, first_at REAL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS judgements (judgement_id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS positions (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL)",
)


class HistoryError(MistwatchError):
    """The alert history cannot be opened, read or written. One line that names the file."""


@dataclass(frozen=True, slots=True)
class RememberedAlert:
    """An alert of the site.

    Attributes:
        started_at: wall-clock time of its first frame (UTC), None when unknown.
        seen_at: when it was published, or was considered here (UTC).
        sequence: of its latest event that was read from the topic; −1 before the first.
        group: the alert that founded its group.
        muted: whether it was muted when its latest event was made.
        evidence: URIs of pictures of its peak.
        embedding: float32 (D,), of length 1.
    """

    alert_id: UUID
    camera: str
    started_at: datetime | None
    seen_at: datetime
    sequence: int
    group: UUID
    muted: bool
    evidence: tuple[str, ...]
    embedding: Embedding


class HistoryFile:
    """Rows of alerts, groups, judgements and positions; every method raises HistoryError. Thread-safe.

    Commits survive the death of the process; a power cut may take the last ones. The topic has them still, and the
    positions that go with them.

    Args:
        path: created when missing. None: in memory.
        site: the file belongs to it.
        embedding_version: alerts of another one are dropped, which is logged.

    Raises:
        HistoryError: not a history, damaged, not writable, held by another process, of another site, or written by a
            later version.
    """

    def __init__(self, path: Path | None, *, site: str, embedding_version: str) -> None:
        self._file = SqliteFile(path, kind="alert history", loss="it is read again from the topic", error=HistoryError)
        try:
            self._file.lock_and_check(sync_every_commit=False)
            with self._file.transaction() as connection:
                self._file.prepare(connection, _SCHEMA, layout=_LAYOUT)
                _bind(connection, path, site, embedding_version)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    @contextmanager
    def writing(self) -> Iterator[HistoryRows]:
        """Commit everything in the block at once, or nothing."""
        with self._file.transaction() as connection:
            yield HistoryRows(connection)

    def alerts(self) -> Iterator[RememberedAlert]:
        """Yield the alerts in the order in which they joined their groups. A damaged row is left out, and logged."""
        columns = "alert_id, camera, started_at, seen_at, sequence, group_id, muted, evidence, embedding"
        for row in self._file.rows(f"SELECT {columns} FROM alerts ORDER BY ordinal"):  # noqa: S608  (a constant)
            try:
                yield RememberedAlert(
                    alert_id=UUID(row[0]),
                    camera=row[1],
                    started_at=_moment(row[2]),
                    seen_at=datetime.fromtimestamp(row[3], UTC),
                    sequence=row[4],
                    group=UUID(row[5]),
                    muted=bool(row[6]),
                    evidence=tuple(json.loads(row[7])),
                    embedding=checked_embedding(np.frombuffer(row[8], "<f4")),
                )
            except (ValueError, TypeError) as error:
                _log.warning("an alert of the history cannot be read and is left out", reason=str(error))

    def groups(self) -> list[tuple[UUID, int, datetime | None]]:
        """Return each group's id, size and earliest time."""
        rows = self._file.rows("SELECT group_id, size, first_at FROM groups")
        return [(UUID(group), size, _moment(first_at)) for group, size, first_at in rows]

    def judgements(self) -> Iterator[JudgementData]:
        """Yield the judgements. One that this version cannot read is left out, and logged."""
        for (document,) in self._file.rows("SELECT data FROM judgements"):
            try:
                yield JudgementData.model_validate_json(document)
            except ValidationError as error:
                _log.warning(
                    "a judgement of the history cannot be read and is left out", reason=explain_unreadable(error)
                )

    def positions(self) -> dict[int, int]:
        """Return the offset from which to read on in each partition of the topic."""
        return dict(self._file.rows("SELECT partition, next_offset FROM positions"))


class HistoryRows:
    """Changes within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put_alert(self, alert: RememberedAlert, *, joined: bool) -> None:
        """Write an alert.

        Args:
            joined: it has joined its group just now, so it is the last one in their order.
        """
        values = (
            alert.camera,
            None if alert.started_at is None else alert.started_at.timestamp(),
            alert.seen_at.timestamp(),
            alert.sequence,
            str(alert.group),
            alert.muted,
            json.dumps(alert.evidence),
            alert.embedding.astype("<f4").tobytes(),
            str(alert.alert_id),
        )
        if not joined:
            changed = self._connection.execute(
                "UPDATE alerts SET camera = ?, started_at = ?, seen_at = ?, sequence = ?, group_id = ?, muted = ?,"
                " evidence = ?, embedding = ? WHERE alert_id = ?",
                values,
            )
            if changed.rowcount:
                return
        self._connection.execute(
            "INSERT OR REPLACE INTO alerts (camera, started_at, seen_at, sequence, group_id, muted, evidence,"
            " embedding, alert_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def delete_alert(self, alert: UUID) -> None:
        """Delete an alert."""
        self._connection.execute("DELETE FROM alerts WHERE alert_id = ?", (str(alert),))

    def put_group(self, group: UUID, size: int, first_at: datetime | None) -> None:
        """Write a group."""
        first = None if first_at is None else first_at.timestamp()
        self._connection.execute("INSERT OR REPLACE INTO groups VALUES (?, ?, ?)", (str(group), size, first))

    def delete_empty_groups(self) -> None:
        """Delete groups without an alert."""
        self._connection.execute("DELETE FROM groups WHERE group_id NOT IN (SELECT group_id FROM alerts)")

    def put_judgement(self, data: JudgementData) -> None:
        """Write a judgement."""
        row = (str(data.judgement_id), data.model_dump_json())
        self._connection.execute("INSERT OR REPLACE INTO judgements VALUES (?, ?)", row)

    def delete_judgements(self, judgements: Iterable[JudgementData]) -> None:
        """Delete judgements."""
        rows = [(str(one.judgement_id),) for one in judgements]
        self._connection.executemany("DELETE FROM judgements WHERE judgement_id = ?", rows)

    def bind_positions(self, topic: str) -> None:
        """Forget the positions in another topic than this one."""
        bound = self._connection.execute("SELECT value FROM meta WHERE name = 'topic'").fetchone()
        if bound is not None and bound[0] != topic:
            self._connection.execute("DELETE FROM positions")
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('topic', ?)", (topic,))

    def put_positions(self, positions: Mapping[int, int]) -> None:
        """Write positions; those of other partitions stay."""
        self._connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())


def _bind(connection: sqlite3.Connection, path: Path | None, site: str, embedding_version: str) -> None:
    """Bind a new file to the site and the embedding's version; drop alerts of another version.

    The judgements stay: their version is written in them.
    """
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if meta.get("site", site) != site:
        raise HistoryError(
            f"alert history {path}: belongs to the site {meta['site']} (expected {site}); name another state folder"
        )
    version = meta.get("embedding_version", embedding_version)
    if version != embedding_version:
        count = connection.execute("SELECT count(*) FROM alerts").fetchone()[0]
        # The topic may hold alerts of the new version already, of a worker that was updated earlier.
        for table in ("alerts", "groups", "positions"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  (constants)
        _log.warning(
            "alerts of another embedding version cannot be compared and are dropped",
            alerts=count,
            had=version,
            has=embedding_version,
        )
    rows = [("site", site), ("embedding_version", embedding_version)]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
