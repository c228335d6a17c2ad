"""Binary files of published data sets, read without running anything in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.jobs.errors import TrainingError
from pipeline.printable import storable


def read_bytes(file: Path) -> npt.NDArray[np.uint8]:
    """Return a file's bytes. Raises TrainingError, which names the file."""
    try:
        return np.fromfile(file, np.uint8)
    except OSError as error:
        raise _unreadable(file, error) from None


def map_bytes(file: Path) -> npt.NDArray[np.uint8]:
    """Return a file's bytes, read on access. Raises TrainingError, which names the file."""
    try:
        if not file.stat().st_size:
            return np.zeros(0, np.uint8)  # nothing can be mapped
        return np.memmap(file, np.uint8, mode="r")
    except OSError as error:
        raise _unreadable(file, error) from None


def read_names(file: Path, number: int) -> tuple[str, ...]:
    """Return the names of the classes, one in each line.

    Raises:
        TrainingError: the file cannot be read, or has another number of names.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise _unreadable(file, error) from None
    names = tuple(storable(line.strip()) for line in lines if line.strip())
    if len(names) != number:
        raise TrainingError(f"{file}: expected {number} names of classes, one in each line (got {len(names)})")
    return names


def _unreadable(file: Path, error: OSError) -> TrainingError:
    if isinstance(error, FileNotFoundError):
        return TrainingError(f"{file}: missing; expected the data set's own file")
    return TrainingError(f"{file}: cannot be read: {error.strerror}")
