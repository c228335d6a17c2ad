"""Names of cameras, detectors and sites: letters and digits of any script, with dots, dashes and underscores between.

They are keys of messages, labels of metrics and names of folders, and people type them. So they are kept in Unicode's
composed form (NFC): an ``ü`` of one character and an ``u`` with a combining mark are the same name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

#: Characters. All of one script of three bytes each fit into a file's name with room to spare.
LONGEST_NAME = 64

#: For schemas, where validators differ in what a letter is: exact for ASCII, and any other character.
_PATTERN = r"^[^\u0000-/:-@\[-`{-\u007f][^\u0000-,/:-@\[-^`{-\u007f]{0,63}$"


def checked_name(text: str) -> str:
    """Return ``text`` in NFC.

    Raises:
        ValueError: it cannot be a name.

    >>> checked_name("Zufahrt-Su\\u0308d") == "Zufahrt-S\\xfcd"
    True
    """
    name = unicodedata.normalize("NFC", text)
    if not 0 < len(name) <= LONGEST_NAME or not name[0].isalnum() or not all(map(_may_be_in_a_name, name)):
        raise ValueError(
            "a name begins with a letter or digit and holds letters and digits of any script, dots, dashes and "
            f"underscores, up to {LONGEST_NAME} characters"
        )
    return name


def name_from(text: str) -> str:
    """Return a name made from any text, of any length; empty if it has neither a letter nor a digit.

    >>> name_from("Zufahrt Süd, 駐車場")
    'Zufahrt-Süd-駐車場'
    """
    text = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    name = re.sub(r"\s+", "-", "".join(char if _may_be_in_a_name(char) else " " for char in text))
    start = next((place for place, char in enumerate(name) if char.isalnum()), len(name))
    return name[start:].rstrip("-._")


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Return ``name`` in at most so many characters: its beginning."""
    return name if len(name) <= longest else name[:longest].rstrip("-._")


def ascii_name(name: str) -> str:
    """Return ``name`` in ASCII, with other characters replaced by underscores and a hash that keeps names distinct.

    >>> ascii_name("gate-3"), ascii_name("Süd"), ascii_name("Sød")
    ('gate-3', 'S_d-be833b', 'S_d-8ae5ad')
    """
    replaced = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return name if replaced == name else f"{replaced}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _may_be_in_a_name(char: str) -> bool:
    return char.isalnum() or char in "._-" or unicodedata.category(char).startswith("M")


Name = Annotated[str, AfterValidator(checked_name), Field(json_schema_extra={"pattern": _PATTERN})]
