"""The folder of the evidence: pictures, films and their side files under one quota and one age limit."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Required, TypedDict, Unpack
from urllib.parse import quote

from pipeline import files
from pipeline.clocks import UNSET_BEFORE
from pipeline.errors import MistwatchError

#: Suffixes of the files that the folder counts and removes.
PICTURE, FILM, FILM_NOTES = ".jpg", ".mp4", ".film.json"

#: The wall clock was set if it moves by more than this against the monotonic one; it is slewed by less. Seconds.
_SET_SECONDS = 2.0
#: Longest part of a file's name; file systems allow 255 bytes.
_NAME_BYTES = 120
_UNFINISHED = ".part"  #: suffix of the drafts of 0.1.0


class EvidenceError(MistwatchError, OSError):
    """A picture or film cannot be encoded or written. One line that names the file or folder."""


class Removal(StrEnum):
    """Why the folder removes a file."""

    QUOTA = "quota"
    AGE = "age"


class Follower(Protocol):
    """Is notified of the folder's files, with the folder's lock held."""

    def kept(self, path: Path) -> None:
        """A file has appeared, or was replaced."""

    def removed(self, path: Path, why: Removal) -> None:
        """A file was removed."""


class EvidenceLimits(TypedDict, total=False):
    """The limits of the folder and its clocks, and the address of its files, see :class:`EvidenceFolder`."""

    uri_of: Callable[[str], str] | None
    quota_bytes: Required[int]
    max_age_seconds: Required[float]
    clock: Callable[[], float]
    wall_clock: Callable[[], float]


class EvidenceFolder:
    """Keeps files in ``folder``/camera/ and removes the oldest. Thread-safe.

    Only files two levels deep whose suffix is one of the evidence are counted and removed; whatever else lies in the
    folder is left alone. One process at a time should keep a folder: each knows only its own files and those there when
    it started.

    Args:
        folder: created when missing.
        quota_bytes: all files together are never larger, a file being written not counted.
        max_age_seconds: files last saved longer ago are removed when one is saved or :meth:`prune` is called.
        clock: gives seconds of a clock that does not jump; ages are counted by it.
        wall_clock: gives seconds since the epoch, as the files' own times.
        uri_of: returns the URI of a file by its last two names, ``camera/name``; None: files have their ``file://``.

    Raises:
        EvidenceError: the folder cannot be made, read or written.
        ValueError: a limit that is not positive.
    """

    def __init__(self, folder: Path, **limits: Unpack[EvidenceLimits]) -> None:
        quota_bytes, max_age_seconds = limits["quota_bytes"], limits["max_age_seconds"]
        if quota_bytes <= 0 or not max_age_seconds > 0:
            raise ValueError(f"evidence: quota and age must be positive, got {quota_bytes} B and {max_age_seconds} s")
        self.folder = folder.absolute()
        self.quota_bytes = quota_bytes
        self._max_age = max_age_seconds
        self._clock = clock = limits.get("clock", time.monotonic)
        self._wall_clock = wall_clock = limits.get("wall_clock", time.time)
        self._wall_ahead = wall_clock() - clock()  # of the clock, when the files' times were last right
        self._uri_of = limits.get("uri_of")
        self._follower: Follower | None = None
        self._lock = threading.Lock()
        self._sizes: OrderedDict[Path, int] = OrderedDict()  # bytes of each file, least recently saved first
        self._saved_at: dict[Path, float] = {}  # on the clock
        self._total = 0
        try:
            self._take_stock()
        except OSError as error:
            raise EvidenceError(f"evidence folder {self.folder}: {error.strerror}") from None
        self.prune()

    @property
    def total_bytes(self) -> int:
        """Size of all files together, bytes."""
        return self._total

    def path(self, camera: str, name: str, suffix: str) -> Path:
        """Return the place of a file; creates nothing. Camera and name may be any text."""
        return self.folder / file_name(camera) / (file_name(name) + suffix)

    def uri(self, path: Path) -> str:
        """Return the URI by which events name a file of the folder."""
        return path.as_uri() if self._uri_of is None else self._uri_of(f"{path.parent.name}/{path.name}")

    def follow(self, follower: Follower) -> None:
        """Notify a follower of each file from here on."""
        with self._lock:
            self._follower = follower

    def files(self) -> list[tuple[Path, int]]:
        """Return all files and their sizes in bytes, least recently saved first."""
        with self._lock:
            return list(self._sizes.items())

    def put(self, path: Path, content: bytes, *, what: str) -> str:
        """Write a file, or replace it, and make room for it; it appears complete or not at all. Return its URI.

        Args:
            path: of :meth:`path`.
            what: names the kind of file in errors.

        Raises:
            EvidenceError: it cannot be written, or is larger than the whole quota.
        """
        self._check_size(path, len(content), what)
        with self._lock:
            self._forget(path)  # it is replaced
            self._prune(room_for=len(content))
            try:
                self._make_parent(path, what)
                files.write_bytes(path, content)
            except EvidenceError:
                raise
            except OSError as error:
                raise EvidenceError(f"{what} {path}: {error.strerror}") from None
            self._take(path, len(content))
        return self.uri(path)

    def open_draft(self, path: Path, *, what: str) -> tuple[Path, int]:
        """Open a draft of a file that is written over some time; return its path and its descriptor, to be closed.

        Raises:
            EvidenceError: it cannot be made.
        """
        draft = files.draft_path(path)
        with self._lock:  # the camera's last picture may be removed at this moment, and its folder with it
            try:
                self._make_parent(path, what)
                return draft, os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except EvidenceError:
                raise
            except OSError as error:
                raise EvidenceError(f"{what} {path}: {error.strerror}") from None

    def keep(self, draft: Path, path: Path, *, what: str) -> str:
        """Give a draft that is complete its name, and make room for it. Return its URI.

        Raises:
            EvidenceError: it cannot be kept, and is removed.
        """
        try:
            size = draft.stat().st_size
            self._check_size(path, size, what)
            files.sync(draft)
            with self._lock:
                self._forget(path)
                self._prune(room_for=size)
                draft.replace(path)
                self._take(path, size)
            files.sync(path.parent)
        except EvidenceError:
            files.remove(draft)
            raise
        except OSError as error:
            files.remove(draft)
            raise EvidenceError(f"{what} {path}: {error.strerror}") from None
        return self.uri(path)

    def prune(self) -> None:
        """Remove files that are too old, and the oldest ones beyond the quota."""
        with self._lock:
            self._prune(room_for=0)

    def _check_size(self, path: Path, size: int, what: str) -> None:
        if size > self.quota_bytes:
            raise EvidenceError(f"{what} {path}: its {size} bytes exceed the quota of {self.quota_bytes}")

    def _make_parent(self, path: Path, what: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise EvidenceError(f"{what} {path}: {path.parent} leads out of the evidence folder; remove it")

    def _take_stock(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        found = []
        for camera in self.folder.iterdir():
            files.remove_stale_drafts(camera)
        for path in self.folder.glob("*/*"):
            if path.suffix == _UNFINISHED:
                path.unlink(missing_ok=True)
            elif path.name.endswith((PICTURE, FILM, FILM_NOTES)) and path.is_file() and not path.is_symlink():
                status = path.stat()
                found.append((self._clock() - self._age(status.st_mtime), status.st_mtime, path, status.st_size))
        for saved_at, _, path, size in sorted(found):
            self._add(path, size, saved_at)

    def _age(self, modified_at: float) -> float:
        """Return the age of a file of an earlier process, seconds: by the wall clock, 0 where it cannot be known."""
        if modified_at < UNSET_BEFORE.timestamp() <= self._wall_clock():
            self._wall_ahead = float("-inf")  # the file's time is to be set
            return 0.0
        return max(0.0, self._wall_clock() - modified_at)

    def _follow_wall_clock(self) -> None:
        """Give the files the times of their ages if the wall clock was set: the next process knows nothing else."""
        wall_ahead = self._wall_clock() - self._clock()
        if abs(wall_ahead - self._wall_ahead) < _SET_SECONDS:
            return
        self._wall_ahead = wall_ahead
        for path, saved_at in self._saved_at.items():
            with contextlib.suppress(OSError):  # another process removed it
                os.utime(path, (saved_at + wall_ahead,) * 2)

    def _take(self, path: Path, size: int) -> None:
        self._add(path, size, self._clock())
        if self._follower is not None:
            self._follower.kept(path)

    def _add(self, path: Path, size: int, saved_at: float) -> None:
        self._sizes[path] = size
        self._saved_at[path] = saved_at
        self._total += size

    def _forget(self, path: Path) -> None:
        self._total -= self._sizes.pop(path, 0)
        self._saved_at.pop(path, None)

    def _prune(self, *, room_for: int) -> None:
        self._follow_wall_clock()
        too_old = self._clock() - self._max_age
        while self._sizes:
            oldest = next(iter(self._sizes))
            is_too_old = self._saved_at[oldest] < too_old
            if self._total + room_for <= self.quota_bytes and not is_too_old:
                return
            self._forget(oldest)
            if self._follower is not None:
                self._follower.removed(oldest, Removal.AGE if is_too_old else Removal.QUOTA)
            with contextlib.suppress(OSError):  # another process removed it; the next ones still go
                oldest.unlink()
                oldest.parent.rmdir()  # succeeds with the camera's last picture


def file_name(text: str) -> str:
    """A file's name for any text: letters and digits of any script and ``_.-~`` as they are, the rest as %XX.

    Never hidden, never ``..``; two different texts have two different names. Text that is not in Unicode's composed
    form (NFC) has %XX for every letter that is not ASCII, as not every file system tells the forms apart; so has text
    that this machine's file names cannot hold.
    """
    kept = unicodedata.is_normalized("NFC", text) and _fits_names(text)
    name = "".join(char if kept and _is_letter(char) else _escaped(char) for char in text)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name.encode()) > _NAME_BYTES:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
        start = name.encode()[: _NAME_BYTES - 34].decode(errors="ignore")
        name = f"{start}%-{digest}"  # no shorter text has a name with %-
    return name


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _fits_names(text: str) -> bool:
    try:
        text.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return False
    return True


def _escaped(char: str) -> str:
    return quote(char, safe="", errors="surrogatepass")
