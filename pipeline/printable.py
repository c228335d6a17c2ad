"""Text from outside (names of files and cameras, contents of manifests), made safe for a terminal or a page."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return ``text`` with terminal control characters written as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )
