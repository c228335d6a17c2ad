"""Output for any terminal: characters that its encoding lacks are written in ASCII instead of failing.

The encoding is that of the terminal's locale or of ``PYTHONIOENCODING``. JSON on standard output is ASCII in every
encoding, so that its reader need not know which one it is: see :func:`ascii_json`.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable

#: Name of the error handler of both streams.
_HANDLER = "mistwatch.ascii"
#: Python's own choices for the two streams. Another one is the user's, and kept.
_DEFAULTS = ("strict", "surrogateescape", "backslashreplace")

#: Typography of our own texts. One character each, where a table or a bar must stay aligned.
_ASCII = str.maketrans(
    {
        "–": "-",
        "−": "-",
        "—": "-",
        "…": "...",
        "×": "x",
        "→": "->",
        "’": "'",
        "≥": ">=",
        "≤": "<=",
        "\N{NO-BREAK SPACE}": " ",
    }
    | {"┃": "|", "█": "#", "░": ".", "✓": "+", "✗": "x", "∞": "inf"}
)


def discard_output() -> None:
    """Let nothing more be written to standard output, whose reader has gone, as in ``… | head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on standard output, as long as it has a reader."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def escape_unencodable() -> None:
    """Let standard output and standard error write ``\\uXXXX`` for characters that their encoding lacks."""
    codecs.register_error(_HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _DEFAULTS:
            stream.reconfigure(errors=_HANDLER)


def ascii_json(document: str) -> str:
    """Return the same JSON document in ASCII; characters beyond it can only stand in its strings."""
    return "".join(character if character.isascii() else _escaped(character) for character in document)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Handle an encoding error, see :func:`codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end].translate(_ASCII)
    return ascii_json(missing), error.end


def _escaped(character: str) -> str:
    """Return JSON's escape of a character; two, a surrogate pair, beyond the basic plane."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
