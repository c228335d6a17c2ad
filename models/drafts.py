"""What is being written, beside the place that it takes when it is whole; and away with what killed processes left."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

#: Tells this process from one that had its number before: in a container every process may have the same.
_PROCESS = secrets.token_hex(4)
_COUNT = itertools.count()


def draft_of(place: Path) -> Path:
    """A new name beside ``place`` for what this process writes: ``PLACE.HOST.PID-TOKEN-COUNT.tmp``. Nothing is made."""
    return place.with_name(f"{place.name}.{socket.gethostname()}.{os.getpid()}-{_PROCESS}-{next(_COUNT)}.tmp")


def sweep(folder: Path, name: str = "*") -> None:
    """Remove the drafts of this machine's processes that are no more.

    What another machine writes there is left alone, as nobody here can know of its processes; what cannot be removed
    stays, as it is in nobody's way.

    Args:
        folder: there may be none.
        name: of the places whose drafts are looked at, as a pattern of the shell.
    """
    for left in folder.glob(f"{name}.{socket.gethostname()}.*.tmp"):
        if not _at_work(left):
            remove(left)


def take_place(draft: Path, place: Path, sound: Callable[[], bool]) -> None:
    """Give a folder that is whole its name, unless somebody else was faster.

    Args:
        draft: the folder.
        place: its name; what is there and not ``sound`` is removed.
        sound: whether what is at ``place`` can be used.

    Raises:
        OSError: it cannot have that name.
    """
    if not sound():
        shutil.rmtree(place, ignore_errors=True)
    try:
        draft.replace(place)
    except OSError:
        if not sound():
            raise


def remove(draft: Path) -> None:
    """Remove a draft, a file or a folder, or what of it can be removed; there may be none."""
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            draft.unlink()


def _at_work(draft: Path) -> bool:
    """Whether the process that writes it runs."""
    number, _, rest = draft.name.split(".")[-2].partition("-")
    if not number.isdecimal():
        return True  # nothing of ours
    if int(number) == os.getpid():
        return rest.startswith(f"{_PROCESS}-")
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
