"""Errors that commands raise themselves, and the system's errors as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import MistwatchError


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
