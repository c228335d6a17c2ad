"""Disks that are full: a small tmpfs where this machine lets the tests mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


class SmallDisk:
    """A mounted file system of some megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take every byte that is left."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 65536):
                pass
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 512):
                pass

    def free(self) -> None:
        """Give everything back that was taken by :meth:`fill`."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int, require: Callable[[str], NoReturn]) -> Iterator[SmallDisk]:
    """Mount a small disk on a new folder while this lasts.

    Args:
        require: called where only root of the host may mount one; skips the test, or fails it.
    """
    folder.mkdir(parents=True)
    options = ["-o", f"size={megabytes}m,mode=700,uid={os.getuid()}"]
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if mounted.returncode != 0:
        require(f"the right to mount a tmpfs ({mounted.stderr.strip()})")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=30)
