"""Text from outside (names of files, of cameras, what a manifest says) as a terminal or a page may show it."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with everything that a terminal would act on written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )
