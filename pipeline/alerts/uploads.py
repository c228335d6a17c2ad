"""Uploads of evidence: files of the folder are copied to the object store, on a thread of their own.

The folder is the spool: a file waits there until the store has it, also over a restart, and the folder's quota and age
are the limits of what waits. The store keeps its own quota and the same age, for the files of this worker.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from pipeline import logs
from pipeline.alerts.evidence_folder import FILM, FILM_NOTES, PICTURE, EvidenceFolder, Removal
from pipeline.alerts.object_store import ObjectStore, StoredObject
from pipeline.alerts.object_store_errors import StoreError
from pipeline.alerts.stored_stock import StoredStock
from pipeline.clocks import UNSET_BEFORE

_log = logs.get("evidence")

#: Pauses after failures, seconds: the first one, and the longest.
_BACKOFF_SECONDS = (1.0, 60.0)
#: The age of what is stored is looked at so often, and a removal that failed is tried again after that. Seconds.
_LOOK_SECONDS = 600.0

#: Objects removed by one request, which S3 limits to so many.
_REMOVED_AT_ONCE = 1000


class UploadDrop(StrEnum):
    """Why a file never reached the store, for the metrics."""

    QUOTA = "quota"  #: the folder had no more room for it
    AGE = "age"  #: it was too old
    UNREADABLE = "unreadable"  #: the file could not be read, or another process removed it


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
        clock: gives seconds of a clock that does not jump; ages are counted by it.
        wall_clock: gives seconds since the epoch; ages of listed objects are taken from it, once.
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
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._store, self._place = folder, store, place
        self._quota, self._max_age = quota_bytes, max_age_seconds
        self._watch = watch or UploadWatch()
        self._first_pause, self._longest_pause = backoff_seconds
        self._pause = self._first_pause
        self._clock, self._wall_clock = clock, wall_clock
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Path, None] = OrderedDict()
        self._in_flight: Path | None = None
        self._removed_in_flight: Removal | None = None
        self._news = threading.Condition(self._lock)
        self._stock: StoredStock | None = None  # None: the store was not reached yet
        self._knows_ages = False  # the wall clock was set when the store was listed
        self._prune_at = 0.0  # on the monotonic clock; later where the store refuses to remove
        self._is_away = False
        self._ends_at: float | None = None  # on the monotonic clock; None: the end was not asked for
        self._thread = threading.Thread(target=self._run, name="evidence uploads", daemon=True)

    def start(self) -> None:
        """Begin with the files that an earlier process has left, and follow the folder."""
        self._folder.follow(self)
        self._thread.start()

    def close(self, seconds: float) -> int:
        """End, after what can be uploaded within so many seconds; return the number of files that wait on."""
        with self._news:
            self._ends_at = time.monotonic() + seconds
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)
        with self._lock:
            left = self._count()
        if left:
            _log.warning("evidence not uploaded", files=left, next="the next start uploads it")
        return left

    # -- the folder's calls ------------------------------------------------------------------------------------

    def kept(self, path: Path) -> None:
        """Take a new file, or a new version of one."""
        with self._news:
            self._waiting[path] = None
            self._watch.waiting(self._count())
            self._news.notify_all()

    def removed(self, path: Path, why: Removal) -> None:
        """Forget a file that the folder has removed."""
        with self._news:
            if path in self._waiting:
                del self._waiting[path]
                self._watch.waiting(self._count())
                self._watch.dropped(UploadDrop(why))
            elif path == self._in_flight:
                self._removed_in_flight = why  # it is lost only if this attempt fails

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                if self._stock is None or (not self._knows_ages and self._is_clock_set()):
                    self._stock = self._take_stock()
                    self._recovered()
                    self._prune(self._stock)
                path = self._next()
                if path is None:
                    return
                if path.name and self._upload(path, self._stock):
                    self._recovered()
                self._prune(self._stock)
            except Exception as error:
                if not isinstance(error, StoreError):
                    _log.exception("evidence not uploaded; this is a bug")
                self._failed(str(error) if isinstance(error, StoreError) else type(error).__name__)
                if self._rest(self._pause * random.uniform(0.5, 1.0)):  # noqa: S311  (not a secret)
                    return
                self._pause = min(2 * self._pause, self._longest_pause)

    def _next(self) -> Path | None:
        """Return the file that has waited longest, now in flight; an empty path: only look at ages; None: the end."""
        with self._news:
            if not self._waiting and self._ends_at is None:
                self._news.wait(_LOOK_SECONDS)
            if self._is_over() or (not self._waiting and self._ends_at is not None):
                return None
            if not self._waiting:
                return Path()
            self._in_flight, _ = self._waiting.popitem(last=False)  # a newer version that comes meanwhile waits anew
            self._removed_in_flight = None
            return self._in_flight

    def _upload(self, path: Path, stock: StoredStock) -> bool:
        """Send a file; return whether the store has taken it. Raises StoreError, after which the file waits again."""
        key = self._key(path)
        kept_from = self._clock() - self._folder.age(path)
        drop: UploadDrop | None = None
        is_to_wait = False
        try:
            size = self._store.put(key, path)
        except OSError as error:
            drop = UploadDrop.UNREADABLE
            if self._removed_in_flight is None:
                _log.error("evidence not uploaded", file=path.name, error=error.strerror)
            return False
        except BaseException:
            is_to_wait = True
            raise
        else:
            stock.note(key, size, kept_from)
            self._watch.uploaded()
            return True
        finally:
            with self._lock:
                self._in_flight = None
                if (drop is not None or is_to_wait) and self._removed_in_flight is not None:
                    drop, is_to_wait = UploadDrop(self._removed_in_flight), False
                if is_to_wait:
                    self._waiting.setdefault(path)  # behind the others: one that is refused holds up none of them
                self._watch.waiting(self._count())
            if drop is not None:
                self._watch.dropped(drop)

    def _count(self) -> int:
        """Return the number of files that the store lacks; with the lock held."""
        return len(self._waiting) + (self._in_flight is not None and self._in_flight not in self._waiting)

    def _is_over(self) -> bool:
        """Return whether the time that :meth:`close` has given is over."""
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def _is_clock_set(self) -> bool:
        return self._wall_clock() >= UNSET_BEFORE.timestamp()

    def _take_stock(self) -> StoredStock:
        """Return what the store has, and let the files of the folder wait that it lacks. Raises StoreError.

        An object of a file in the folder is as old as the file; of others only the time of their upload is known.
        """
        self._knows_ages = False
        is_set, now, wall = self._is_clock_set(), self._clock(), self._wall_clock()
        listed = [one for one in self._store.list(self._place) if one.key.endswith((PICTURE, FILM, FILM_NOTES))]
        found = {one.key: one for one in listed}
        here = self._folder.files()
        ages = {self._key(path): self._folder.age(path) for path, _ in here}
        stock = StoredStock()
        for one in listed:
            stock.note(one.key, one.size, now - max(0.0, wall - one.modified_at, ages.get(one.key, 0.0)))
        lacking = [path for path, size in here if not _is_of(found.get(self._key(path)), path, size)]
        with self._news:
            for path in lacking:
                self._waiting.setdefault(path)
            self._watch.waiting(self._count())
        self._knows_ages = is_set
        return stock

    def _key(self, path: Path) -> str:
        return f"{self._place}/{path.parent.name}/{path.name}"

    def _prune(self, stock: StoredStock) -> None:
        """Remove the oldest files beyond the quota, and those that are too old.

        A store that refuses holds up no upload: it may be one that forbids to remove anything.
        """
        while time.monotonic() >= self._prune_at and not self._is_over():
            # Where the wall clock was never set, ages of the listed objects are unknown.
            too_old = self._clock() - self._max_age if self._knows_ages else float("-inf")
            keys = stock.due(self._quota, too_old, _REMOVED_AT_ONCE)
            if not keys:
                return
            try:
                self._store.delete(keys)
            except StoreError as error:
                self._prune_at = time.monotonic() + _LOOK_SECONDS
                self._watch.failed()
                _log.warning("old evidence not removed from its store", reason=str(error), retry_seconds=_LOOK_SECONDS)
                return
            for key in keys:
                stock.forget(key)

    def _rest(self, seconds: float) -> bool:
        """Wait; return whether the end has come."""
        until = time.monotonic() + seconds
        with self._news:
            while self._ends_at is None and (left := until - time.monotonic()) > 0:
                self._news.wait(left)
            return self._ends_at is not None

    def _failed(self, reason: str) -> None:
        self._watch.failed()
        if not self._is_away:
            self._is_away = True
            self._watch.away(True)
            _log.warning(
                "evidence waits for its store", reason=reason, next="files are kept; tries go on by themselves"
            )

    def _recovered(self) -> None:
        """Note that the store has answered a list, or taken a file."""
        self._pause = self._first_pause
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
