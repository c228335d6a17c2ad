"""Durable files: written in full or not at all, with locks between processes.

Everything is written to a draft beside its final name and renamed when it is complete. Drafts carry the host and the
process in their name, so that a later process can remove those that a killed one left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import MistwatchError

#: Distinguishes this process from an earlier one with the same number: in a container every process may be number 1.
_PROCESS = secrets.token_hex(4)
_COUNT = itertools.count()


class LockedError(MistwatchError):
    """Another process holds the lock."""


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Write ``file`` in full or not at all.

    Yields the path of a draft in the same folder. When the block ends, the draft is flushed to the disk and takes the
    name of ``file``, and the folder is flushed too: after a power cut either the old or the new content is there. When
    the block raises, the draft is removed and ``file`` stays as it was.

    Raises:
        OSError: the file cannot be written; its ``filename`` is ``file``, not the draft.
    """
    remove_stale_drafts(file.parent, file.name)
    draft = draft_path(file)
    try:
        yield draft
        sync(draft)
        draft.replace(file)
    except BaseException as error:
        remove(draft)
        if isinstance(error, OSError) and str(error.filename) == str(draft):
            error.filename = str(file)
        raise
    sync(file.parent)


def write_bytes(file: Path, content: bytes) -> None:
    """Write ``content`` to ``file``, in full or not at all. Raises OSError."""
    with replacing(file) as draft:
        draft.write_bytes(content)


def write_text(file: Path, text: str) -> None:
    """Write ``text`` to ``file`` as UTF-8, in full or not at all. Raises OSError."""
    write_bytes(file, text.encode())


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder to the disk, before the folder gets its final name. Raises OSError."""
    for file in folder.rglob("*"):
        if file.is_file():
            sync(file)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock between processes while the block runs.

    The lock ends with the process, also when it is killed, and leaves nothing behind on a folder.

    Args:
        path: a folder, or a file; a missing file is created and stays.
        wait: wait for another process that holds the lock; otherwise raise.

    Raises:
        LockedError: another process holds the lock, and ``wait`` is False.
        OSError: the path cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{path}: in use by another process") from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn an OSError of the block into one line that names the file.

    Args:
        place: named where the system's error names no file.

    Raises:
        MistwatchError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise MistwatchError(f"cannot write {error.filename or place}: {error.strerror or error}") from error


def draft_path(place: Path) -> Path:
    """Return an unused name beside ``place`` for a draft: ``PLACE.HOST.PID-TOKEN-COUNT.tmp``; creates nothing."""
    return place.with_name(f"{place.name}.{socket.gethostname()}.{os.getpid()}-{_PROCESS}-{next(_COUNT)}.tmp")


def remove_stale_drafts(folder: Path, name: str = "*") -> None:
    """Remove drafts whose process on this machine has ended.

    Drafts of other machines stay, because their processes cannot be seen from here. A draft that cannot be removed
    stays too.

    Args:
        folder: may be missing.
        name: shell pattern of the names whose drafts are considered.
    """
    for left in folder.glob(f"{name}.{socket.gethostname()}.*.tmp"):
        if not _in_progress(left):
            remove(left)


def publish_folder(draft: Path, place: Path, usable: Callable[[], bool]) -> None:
    """Rename a complete folder to ``place``, unless another process was faster.

    Args:
        draft: the folder.
        place: its name; an existing folder that is not ``usable`` is removed.
        usable: whether the folder at ``place`` can be used.

    Raises:
        OSError: it cannot have that name.
    """
    if not usable():
        shutil.rmtree(place, ignore_errors=True)
    try:
        draft.replace(place)
    except OSError:
        if not usable():
            raise


def remove(draft: Path) -> None:
    """Remove a draft, a file or a folder, as far as it can be removed; it may be missing."""
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            draft.unlink()


def _in_progress(draft: Path) -> bool:
    """Return whether the process that writes the draft is running."""
    number, _, rest = draft.name.split(".")[-2].partition("-")
    if not number.isdecimal():
        return True  # not one of our drafts
    if int(number) == os.getpid():
        return rest.startswith(f"{_PROCESS}-")
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
