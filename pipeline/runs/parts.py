"""The run folder while it is being made: each recording that is finished is kept, until all are.

A part is a run folder of one recording, ``parts/KEY/``; it appears whole or not at all, so a run that is killed loses
the recordings that it was at, and no more. What a finished run holds counts as kept, too: a run over more recordings,
or over some that could not be read then, goes on from it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import files, logs
from pipeline.errors import UsageError
from pipeline.runs.folder import (
    ALERTS_FILE,
    ATTENTION_FOLDER,
    PARTS_FOLDER,
    RUN_FILE,
    SCORES_FILE,
    VIDEOS_FILE,
    RunError,
    RunSettings,
    VideoRow,
    read_rows,
    read_scores,
    read_settings,
    score_schema,
)
from pipeline.runs.recordings import Wanted
from pipeline.runs.replayed import Replayed
from pipeline.sources.base import SourceError

if TYPE_CHECKING:
    import pyarrow

_log = logs.get("replay")

_ATTENTION_FILE = "attention.npy"
#: How the name of what is not written to its end ends.
_DRAFT = ".draft"
#: In the folder of the parts: the finished run, written as a whole, on its way to where it belongs.
_READY_FOLDER = "run.ready"
#: The parts of a run that is finished, while they are deleted.
_SPENT_FOLDER = ".parts.spent"
#: Rows that are written to Parquet together; recordings share such a group, as many have a handful of clips.
_ROWS_TOGETHER = 1 << 16


class OtherRunError(UsageError):
    """The folder holds a run of other settings, or another process writes there. One line."""


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and let one process at a time write there; the lock goes with the process, however it ends.

    Raises:
        OtherRunError: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(folder / ".lock", wait=False):
            yield
    except files.LockedError:
        raise OtherRunError(f"{folder}: another process is replaying into it; name another folder") from None


class Parts:
    """The recordings that a run folder holds so far.

    Args:
        folder: of the run, for this process alone (:func:`alone_in`).

    Raises:
        OtherRunError: it holds a run of other settings, of recordings that are not asked for, or of others than are now
            of these names; the line names them.
        RunError: what it holds cannot be read.
    """

    def __init__(self, folder: Path, settings: RunSettings, recordings: Iterable[Wanted]) -> None:
        self.folder = folder
        self._settings = settings
        self._parts = folder / PARTS_FOLDER
        self._put_in_place()
        self._is_finished = (folder / RUN_FILE).exists()
        for file in (folder / RUN_FILE, self._parts / RUN_FILE):
            if file.exists():
                _require_same(read_settings(file), settings, folder)
        self._require_named(recordings)
        if not (self._parts / RUN_FILE).exists():
            self._parts.mkdir(exist_ok=True)
            files.write_bytes(self._parts / RUN_FILE, settings.model_dump_json(indent=2).encode())

    def find(self, wanted: Wanted, content_hash: str | None, camera: str | None) -> Replayed | None:
        """Return the kept results of a recording, with its present labels; None where none are kept.

        Args:
            content_hash: that it has now; None where it cannot be read: then what was read at the same place is kept.
            camera: of the site, whose settings it is judged by now.
        """
        kept = self._of_part(wanted) or self._of_finished(wanted)
        if kept is None or kept.row.error is not None or kept.row.camera != camera:
            return None
        same = kept.row.path == wanted.stored_path if content_hash is None else kept.row.content_hash == content_hash
        if not same:
            return None
        measured = kept.row.model_dump(include=_MEASURED)
        return Replayed(wanted.row(**measured), kept.scores, kept.events, kept.attention)

    def holds(self, wanted: Wanted) -> bool:
        """Return whether results are kept under this recording's name, whatever its content."""
        row = self._finished_rows.get(wanted.name)
        return (self._parts / wanted.key).is_dir() or (row is not None and row.error is None)

    def keep(self, replayed: Replayed) -> None:
        """Write a recording down. One of which nothing was scored is not kept: the next run tries it again."""
        place = self._parts / replayed.row.key
        draft = self._parts / f"{replayed.row.key}{_DRAFT}"
        for old in (draft, place):
            if old.exists():
                shutil.rmtree(old)
        draft.mkdir()
        _write_files(draft, [replayed])
        if replayed.attention is not None:
            np.save(draft / _ATTENTION_FILE, replayed.attention, allow_pickle=False)
        files.sync_tree(draft)  # after a power cut, files without content would look like a recording without alerts
        draft.rename(place)

    def finish(self, rows: Sequence[VideoRow], recordings: Iterable[Replayed]) -> None:
        """Put the run together, unless the folder holds exactly this one and nothing was scored anew.

        Args:
            recordings: the same, with all that belongs to them; read only where it has to be.
        """
        is_same = list(self._finished_rows.values()) == list(rows)
        if is_same and not any(part.is_dir() for part in self._parts.iterdir()):
            self._clear()
            return
        draft = self._parts / f"run{_DRAFT}"
        if draft.exists():
            shutil.rmtree(draft)
        (draft / ATTENTION_FOLDER).mkdir(parents=True)
        counts = _write_files(draft, recordings, maps=draft / ATTENTION_FOLDER)
        settings = self._settings.model_copy(update={**counts, "created_at": datetime.now(UTC)})
        files.write_bytes(draft / RUN_FILE, settings.model_dump_json(indent=2).encode() + b"\n")
        files.sync_tree(draft)
        draft.rename(self._parts / _READY_FOLDER)
        self._put_in_place()
        self._clear()

    def _put_in_place(self) -> None:
        """Move a run that is ready to where it belongs; what a process that was killed has moved of it stays moved."""
        ready = self._parts / _READY_FOLDER
        if (ready / RUN_FILE).exists():
            (self.folder / RUN_FILE).unlink(missing_ok=True)  # while the others change, there is no finished run
            for name in (SCORES_FILE, ALERTS_FILE, VIDEOS_FILE):
                if (ready / name).exists():
                    (ready / name).replace(self.folder / name)
            if (ready / ATTENTION_FOLDER).exists():
                shutil.rmtree(self.folder / ATTENTION_FOLDER, ignore_errors=True)
                if any((ready / ATTENTION_FOLDER).iterdir()):
                    (ready / ATTENTION_FOLDER).rename(self.folder / ATTENTION_FOLDER)
            (ready / RUN_FILE).replace(self.folder / RUN_FILE)
        shutil.rmtree(ready, ignore_errors=True)
        shutil.rmtree(self.folder / _SPENT_FOLDER, ignore_errors=True)

    def _clear(self) -> None:
        """Delete the parts; to a process that is killed meanwhile they are gone, all of them."""
        spent = self.folder / _SPENT_FOLDER
        self._parts.rename(spent)
        shutil.rmtree(spent)

    def _require_named(self, recordings: Iterable[Wanted]) -> None:
        """Raises OtherRunError where what is kept would not be in the run that is to be made, or under another name.

        A recording's name decides the ids of its alerts, and what a folder held before must not decide the name: then
        the same command would make another run in an empty folder. So one of a name that is taken is not given another.
        """
        by_name = {one.name: one for one in recordings}
        by_path = {one.stored_path: one for one in by_name.values()}
        lost = []
        for row in self._kept_rows():
            if (renamed := by_path.get(row.path)) is not None and renamed.name != row.name:
                raise OtherRunError(
                    f"{self.folder} holds {row.path} as {row.name}, and this command calls it {renamed.name}: name "
                    "another folder"
                )
            if (now := by_name.get(row.name)) is None:
                lost.append(row.name)
            elif now.stored_path != row.path and (content := _content(now)) != row.content_hash:
                what = "cannot be read" if content is None else "is another recording"
                raise OtherRunError(
                    f"{self.folder} holds {row.path} as {row.name}, and {now.stored_path} of the same name {what}: "
                    "name another folder"
                )
        if lost:
            raise OtherRunError(
                f"{self.folder} holds {len(lost)} recordings that this command does not name ({min(lost)}"
                f"{', …' * (len(lost) > 1)}): name them too, or another folder"
            )

    def _kept_rows(self) -> Iterator[VideoRow]:
        """Yield the row of every recording that is kept, in the finished run or as a part."""
        yield from (row for row in self._finished_rows.values() if row.error is None)
        for file in sorted(self._parts.glob(f"*/{VIDEOS_FILE}")):
            if file.parent.suffix != _DRAFT:
                with contextlib.suppress(RunError):  # it will be replayed again
                    yield from read_rows(file)

    def _of_part(self, wanted: Wanted) -> Replayed | None:
        place = self._parts / wanted.key
        if not place.is_dir():
            return None
        maps = place / _ATTENTION_FILE
        try:
            (row,) = read_rows(place / VIDEOS_FILE)
            part = Replayed(
                row,
                read_scores(place / SCORES_FILE),
                (place / ALERTS_FILE).read_bytes(),
                np.load(maps, allow_pickle=False) if maps.exists() else None,
            )
        except (RunError, OSError, ValueError) as error:
            _log.warning("unreadable, replayed again", recording=wanted.name, error=str(error))
            return None
        return part

    def _of_finished(self, wanted: Wanted) -> Replayed | None:
        if (row := self._finished_rows.get(wanted.name)) is None:
            return None
        import pyarrow.compute

        maps = self.folder / ATTENTION_FOLDER / f"{row.key}.npy"
        try:
            return Replayed(
                row,
                self._finished_scores.filter(pyarrow.compute.field("video") == row.name),
                self._finished_events.get(row.name, b""),
                np.load(maps, allow_pickle=False) if maps.exists() else None,
            )
        except (RunError, OSError, ValueError, KeyError) as error:
            _log.warning("unreadable, replayed again", recording=wanted.name, error=str(error))
            return None

    @cached_property
    def _finished_rows(self) -> dict[str, VideoRow]:
        return {row.name: row for row in read_rows(self.folder / VIDEOS_FILE)} if self._is_finished else {}

    @cached_property
    def _finished_scores(self) -> pyarrow.Table:
        return read_scores(self.folder / SCORES_FILE)

    @cached_property
    def _finished_events(self) -> dict[str, bytes]:
        of: dict[str, list[bytes]] = {}
        for line in (self.folder / ALERTS_FILE).read_bytes().splitlines(keepends=True):
            of.setdefault(json.loads(line)["subject"], []).append(line)
        return {name: b"".join(lines) for name, lines in of.items()}


def _content(wanted: Wanted) -> str | None:
    """The hash of a recording's content; None where it cannot be read."""
    try:
        return wanted.open().content_hash
    except (SourceError, OSError):
        return None


#: What a replay finds out of a recording; the rest of its row is what is said of it.
_MEASURED = {
    "content_hash", "camera", "frames", "fps", "duration_seconds", "started_at", "segments", "clips", "gated", "damage",
    "gaps", "sparse",
}  # fmt: skip


def _write_files(folder: Path, recordings: Iterable[Replayed], *, maps: Path | None = None) -> dict[str, int]:
    """Write scores, events and rows, always the same bytes for the same recordings.

    Args:
        maps: a folder for the attention maps, a file a recording.

    Returns:
        the counts of :class:`pipeline.runs.folder.RunSettings`.
    """
    import pyarrow
    from pyarrow import parquet

    schema = score_schema()
    texts = [field.name for field in schema if field.type == pyarrow.string()]
    counts = {"recordings": 0, "frames": 0, "clips": 0, "alerts": 0}
    waiting: list[pyarrow.Table] = []
    rows_waiting = 0
    with (
        (folder / SCORES_FILE).open("wb") as table,  # opened here, as pyarrow takes only paths that are UTF-8
        parquet.ParquetWriter(table, schema, version="2.6", compression="zstd", use_dictionary=texts) as scores,
        (folder / ALERTS_FILE).open("wb") as events,
        (folder / VIDEOS_FILE).open("wb") as rows,
    ):

        def write_waiting() -> None:
            if waiting:
                scores.write_table(pyarrow.concat_tables(waiting).combine_chunks())
                waiting.clear()

        for one in recordings:
            row = one.row
            rows.write(row.model_dump_json().encode() + b"\n")
            events.write(one.events)
            waiting.append(one.scores)
            rows_waiting += len(one.scores)
            if rows_waiting >= _ROWS_TOGETHER:
                write_waiting()
                rows_waiting = 0
            if maps is not None and one.attention is not None:
                np.save(maps / f"{row.key}.npy", one.attention, allow_pickle=False)
            counts["recordings"] += 1
            counts["frames"] += row.frames
            counts["clips"] += row.clips
            counts["alerts"] += one.alerts
        write_waiting()
    return counts


def _require_same(there: RunSettings, asked: RunSettings, folder: Path) -> None:
    """Raises OtherRunError where the two are of different runs."""
    one, other = _flat(there.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    keys = [key for key in sorted({*one, *other}) if key.split(".")[0] not in _NOT_SETTINGS]
    different = [
        f"{key} is {one.get(key)} there, not {other.get(key)}" for key in keys if one.get(key) != other.get(key)
    ]
    if different:
        raise OtherRunError(f"{folder} holds a run of other settings ({', '.join(different[:5])}): name another folder")


#: What of ``run.json`` may differ from one making of a run to the next.
_NOT_SETTINGS = frozenset({"mistwatch", "created_at", "run", "recordings", "frames", "clips", "alerts"})


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
