"""Paths to go on to after a login: those of this console alone. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def local_target(text: str) -> str:
    r"""Return a path of this console to go on to; ``/`` for everything else.

    >>> [local_target(text) for text in ("/alerts?camera=gate", "//evil.example/", r"/\evil", "https://evil.example")]
    ['/alerts?camera=gate', '/', '/', '/']
    """
    local = text.startswith("/") and not text.startswith("//") and text.isprintable() and "\\" not in text
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    return text if local and not parts.scheme and not parts.netloc and not text.startswith("/login") else "/"
