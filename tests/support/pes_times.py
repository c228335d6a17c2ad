"""MPEG streams that state a time for few of their pictures."""

from __future__ import annotations

from pathlib import Path

_VIDEO = b"\x00\x00\x01\xe0"
_FLAGS, _LENGTH, _TIMES = 7, 8, 9  # places in the header of a PES packet, ISO/IEC 13818-1 section 2.4.3.6


def without_times(film: Path, path: Path, keep_every: int) -> Path:
    """A copy of an MPEG program stream in which only every n-th of the times that are stated is left."""
    content = bytearray(film.read_bytes())
    at, found = content.find(_VIDEO), 0
    while at >= 0:
        if content[at + _FLAGS] & 0xC0:
            if found % keep_every:
                content[at + _FLAGS] &= 0x3F
                used = 10 if content[at + _TIMES] >> 4 == 3 else 5  # bytes of both times, or of PTS alone
                content[at + _TIMES : at + _TIMES + used] = b"\xff" * used
            found += 1
        at = content.find(_VIDEO, at + _TIMES)
    path.write_bytes(content)
    return path
