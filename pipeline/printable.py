"""Text from outside (names of files and cameras, contents of manifests), made safe for a terminal, a page or a file."""

from __future__ import annotations

import re
from pathlib import Path


def printable(text: str) -> str:
    """Return ``text`` with terminal control characters written as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )


def storable(text: str) -> str:
    """Return ``text`` with the bytes of a file's name that are not UTF-8 written as an escape.

    >>> storable("caf\\udce9.mp4")
    'caf\\\\xe9.mp4'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def located(stored: str, folder: Path = Path()) -> Path:
    """Return the path, in ``folder``, of a file whose path was written by :func:`storable`.

    A name may hold such an escape as it is, so the path as written comes first if it exists.
    """
    path = folder / stored
    other = folder / re.sub(r"\\x([89a-f][0-9a-f])", lambda found: chr(0xDC00 + int(found[1], 16)), stored)
    return other if other != path and not path.exists() and other.exists() else path
