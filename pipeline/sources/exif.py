"""Orientation of photographs by their EXIF, of which FFmpeg reads the turn and PyAV shows no mirror."""

from __future__ import annotations

from pathlib import Path

from pipeline.sources.orientation import Orientation

#: EXIF stands at the beginning of a JPEG or PNG. Bytes.
_SEARCHED_BYTES = 1 << 18

_ORIENTATION_TAG = 0x0112
_ENTRY_BYTES = 12

#: Values of the tag whose picture is mirrored, CIPA DC-008 section 4.6.5.
_MIRRORED = {
    2: Orientation(mirror=True),
    4: Orientation(upside_down=True),
    5: Orientation(transpose="cclock_flip"),
    7: Orientation(transpose="clock_flip"),
}


def mirrored_orientation(file: Path) -> Orientation | None:
    """Return the orientation of a picture that lies mirrored; None for any other. Raises OSError."""
    with file.open("rb") as opened:
        content = opened.read(_SEARCHED_BYTES)
    return _MIRRORED.get(_orientation_of(_tiff_part(content)))


def _tiff_part(content: bytes) -> bytes:
    """Return the part of a file that is laid out as a TIFF and describes the picture."""
    if content[:4] in (b"II*\x00", b"MM\x00*"):
        return content
    for mark in (b"Exif\x00\x00", b"eXIf"):  # of a JPEG's segment, of a PNG's chunk
        if (at := content.find(mark)) >= 0:
            return content[at + len(mark) :]
    return b""


def _orientation_of(tiff: bytes) -> int:
    """Return the tag of the first directory; 0 where there is none."""
    is_little_endian = tiff[:2] == b"II"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], "little" if is_little_endian else "big")

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + number(directory, 2) * _ENTRY_BYTES, _ENTRY_BYTES):
        if number(entry, 2) == _ORIENTATION_TAG:
            return number(entry + 8, 2)
    return 0
