"""The file of a picture that an alert names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Pictures; another program that writes to the topic cannot have any other file read.
_SUFFIXES = (".jpg", ".jpeg", ".png")


def picture_of(evidence: Iterable[str], folder: Path | None) -> Path | None:
    """Return the first picture of an alert that is a file here, None if there is none.

    Args:
        evidence: URIs; others than ``file:`` and ``s3:`` are left out.
        folder: only pictures in this folder count. One from another machine, or of a store, is looked for by its last
            two names, CAMERA/NAME. None: any picture that exists here.
    """
    for uri in evidence:
        try:
            parts = urlsplit(uri)
            path = Path(unquote(parts.path))
            is_file = parts.scheme == "file"
            if parts.scheme not in ("file", "s3") or path.suffix.lower() not in _SUFFIXES or not path.is_absolute():
                continue
            candidates = [path] if is_file else []
            if folder is not None:
                candidates.append(folder.joinpath(*path.parts[-2:]))
            for candidate in candidates:
                if candidate.is_file() and (folder is None or candidate.resolve().is_relative_to(folder.resolve())):
                    return candidate
        except (ValueError, OSError):  # a name with a null byte, one that is too long
            continue
    return None
