"""Uploads of evidence: files of the folder are copied to the object store, on a thread of their own.

The folder is the spool: a file waits there until the store has it, also over a restart, and the folder's quota and age
are the limits of what waits. The store keeps its own quota and the same age, for the files of this worker.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from enum import StrEnum
from pathlib import Path

from pipeline import logs
from pipeline.alerts.evidence_folder import FILM, FILM_NOTES, PICTURE, EvidenceFolder, Removal
from pipeline.alerts.object_store import ObjectStore, StoredObject
from pipeline.alerts.object_store_errors import StoreError

_log = logs.get("evidence")

#: Pauses after failures, seconds: the first one, and the longest.
_BACKOFF_SECONDS = (1.0, 60.0)
#: The age of what is stored is looked at so often, and a removal that failed is tried again after that. Seconds.
_LOOK_SECONDS = 600.0

#: Size and Unix time of each key, oldest first.
_Stored = OrderedDict[str, tuple[int, float]]


class UploadDrop(StrEnum):
    """Why a file never reached the store, for the metrics."""

    QUOTA = "quota"  #: the folder had no more room for it
    AGE = "age"  #: it was too old
    UNREADABLE = "unreadable"  #: the file could not be read


class UploadWatch:
    """Is notified of uploads, by any thread. This one does nothing."""

    def uploaded(self) -> None:
        """The store has one more file."""

    def failed(self) -> None:
        """An attempt has failed; the file waits on."""

    def dropped(self, reason: UploadDrop) -> None:
        """A file is lost to the store."""

    def waiting(self, files: int) -> None:
        """So many files wait."""

    def away(self, is_away: bool) -> None:
        """The store takes nothing, or takes files again."""


class Uploads:
    """Copies a folder's files to ``place``/camera/name in a store. Its methods may be called by any thread.

    Args:
        place: of this worker below the store's prefix; only this worker may write there.
        quota_bytes: all files of the place together; the oldest are removed beyond it.
        backoff_seconds: pauses after failures: the first one, and the longest.
    """

    def __init__(
        self,
        folder: EvidenceFolder,
        store: ObjectStore,
        place: str,
        *,
        quota_bytes: int,
        max_age_seconds: float,
        watch: UploadWatch | None = None,
        backoff_seconds: tuple[float, float] = _BACKOFF_SECONDS,
    ) -> None:
        self._folder, self._store, self._place = folder, store, place
        self._quota, self._max_age = quota_bytes, max_age_seconds
        self._watch = watch or UploadWatch()
        self._first_pause, self._longest_pause = backoff_seconds
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Path, None] = OrderedDict()
        self._news = threading.Condition(self._lock)
        self._stored: _Stored | None = None  # None: the store was not reached yet
        self._total = 0
        self._prune_at = 0.0  # on the monotonic clock; later where the store refuses to remove
        self._is_away = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="evidence uploads", daemon=True)

    def start(self) -> None:
        """Begin with the files that an earlier process has left, and follow the folder."""
        self._folder.follow(self)
        self._thread.start()

    def close(self, seconds: float) -> int:
        """End, after what can be uploaded within so many seconds; return the number of files that wait on."""
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)
        with self._lock:
            left = len(self._waiting)
        if left:
            _log.warning("evidence not uploaded", files=left, next="the next start uploads it")
        return left

    # -- the folder's calls ------------------------------------------------------------------------------------

    def kept(self, path: Path) -> None:
        """Take a new file, or a new version of one."""
        with self._news:
            self._waiting[path] = None
            self._watch.waiting(len(self._waiting))
            self._news.notify_all()

    def removed(self, path: Path, why: Removal) -> None:
        """Forget a file that the folder has removed."""
        with self._news:
            if path in self._waiting:
                del self._waiting[path]
                self._watch.waiting(len(self._waiting))
                self._watch.dropped(UploadDrop(why))

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = self._first_pause
        while True:
            try:
                if self._stored is None:
                    self._stored = self._take_stock()
                    self._prune(self._stored)
                path = self._next()
                if path is None:
                    return
                if path.name:
                    self._upload(path, self._stored)
                self._prune(self._stored)
            except Exception as error:
                if not isinstance(error, StoreError):
                    _log.exception("evidence not uploaded; this is a bug")
                self._failed(str(error) if isinstance(error, StoreError) else type(error).__name__)
                if self._rest(pause * random.uniform(0.5, 1.0)):  # noqa: S311  (not a secret)
                    return
                pause = min(2 * pause, self._longest_pause)
            else:
                pause = self._first_pause
                self._recovered()

    def _next(self) -> Path | None:
        """Return the file that has waited longest; an empty path: only look at ages; None: the end."""
        with self._news:
            if not self._waiting and not self._is_closing:
                self._news.wait(_LOOK_SECONDS)
            if self._waiting:
                return next(iter(self._waiting))
            return None if self._is_closing else Path()

    def _upload(self, path: Path, stored: _Stored) -> None:
        key = self._key(path)
        with self._news:
            self._waiting.pop(path, None)  # a newer version that comes meanwhile waits anew
        try:
            size = self._store.put(key, path)
        except OSError as error:
            if path.exists():
                _log.error("evidence not uploaded", file=path.name, error=error.strerror)
            self._watch.dropped(UploadDrop.UNREADABLE if path.exists() else UploadDrop.QUOTA)
        except BaseException:
            with self._news:
                if path.exists():
                    self._waiting[path] = None  # behind the others: one that is refused holds up none of them
                else:
                    self._watch.dropped(UploadDrop.QUOTA)
            raise
        else:
            self._note(stored, key, size, time.time())
            self._watch.uploaded()
        with self._lock:
            self._watch.waiting(len(self._waiting))

    def _take_stock(self) -> _Stored:
        """Return what the store has, and let the files of the folder wait that it lacks. Raises StoreError."""
        listed = [one for one in self._store.list(self._place) if one.key.endswith((PICTURE, FILM, FILM_NOTES))]
        found = {one.key: one for one in listed}
        stored: _Stored = OrderedDict()
        self._total = 0
        for one in sorted(listed, key=lambda one: one.modified_at):
            self._note(stored, one.key, one.size, one.modified_at)
        lacking = [path for path, size in self._folder.files() if not _is_of(found.get(self._key(path)), path, size)]
        with self._news:
            for path in lacking:
                self._waiting.setdefault(path)
            self._watch.waiting(len(self._waiting))
        return stored

    def _key(self, path: Path) -> str:
        return f"{self._place}/{path.parent.name}/{path.name}"

    def _note(self, stored: _Stored, key: str, size: int, at: float) -> None:
        self._total += size - stored.pop(key, (0, 0.0))[0]
        stored[key] = (size, at)

    def _prune(self, stored: _Stored) -> None:
        """Remove the oldest files beyond the quota, and those that are too old.

        A store that refuses holds up no upload: it may be one that forbids to remove anything.
        """
        too_old = time.time() - self._max_age
        while stored and time.monotonic() >= self._prune_at:
            key, (size, at) = next(iter(stored.items()))
            if self._total <= self._quota and at >= too_old:
                return
            try:
                self._store.delete(key)
            except StoreError as error:
                self._prune_at = time.monotonic() + _LOOK_SECONDS
                self._watch.failed()
                _log.warning("old evidence not removed from its store", reason=str(error), retry_seconds=_LOOK_SECONDS)
                return
            del stored[key]
            self._total -= size

    def _rest(self, seconds: float) -> bool:
        """Wait; return whether the end has come."""
        until = time.monotonic() + seconds
        with self._news:
            while not self._is_closing and (left := until - time.monotonic()) > 0:
                self._news.wait(left)
            return self._is_closing

    def _failed(self, reason: str) -> None:
        self._watch.failed()
        if not self._is_away:
            self._is_away = True
            self._watch.away(True)
            _log.warning(
                "evidence waits for its store", reason=reason, next="files are kept; tries go on by themselves"
            )

    def _recovered(self) -> None:
        if self._is_away:
            self._is_away = False
            self._watch.away(False)
            _log.info("evidence is uploaded again")


def _is_of(stored: StoredObject | None, path: Path, size: int) -> bool:
    """Return whether an object is of a file as it is now: of the same size, and not written before it.

    The store's clock counts whole seconds, and may differ from this machine's: then a file is sent once more.
    """
    if stored is None or stored.size != size:
        return False
    try:
        return int(path.stat().st_mtime) <= stored.modified_at
    except OSError:  # removed meanwhile
        return True
