"""The record of sendings: the time of each picture. The server's process appends to it, the launcher reads it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

#: Camera, pass, frame, and time (seconds since 1970). Some 20 MB a day for a camera of 12.5 fps.
_LINE = struct.Struct("<IIId")


@dataclass(frozen=True, slots=True)
class Sending:
    """The sending of one picture of the file to all present clients.

    Attributes:
        pass_: number of complete passes of the file before.
        frame: number of the picture in the file, from 0.
        at: time at which it was passed to the network (UTC).
    """

    pass_: int
    frame: int
    at: datetime


def append(record: int, camera: int, pass_: int, frame: int, unix_seconds: float) -> None:
    """Add one sending; later reads include it.

    Args:
        record: file descriptor; only this process writes to it.
    """
    os.write(record, _LINE.pack(camera, pass_, frame, unix_seconds))


def read(record: int, camera: int) -> list[Sending]:
    """Return all sendings of one camera so far, in order."""
    size = os.fstat(record).st_size // _LINE.size * _LINE.size
    lines = os.pread(record, size, 0)
    return [
        Sending(pass_, frame, datetime.fromtimestamp(at, UTC))
        for number, pass_, frame, at in _LINE.iter_unpack(lines)
        if number == camera
    ]
