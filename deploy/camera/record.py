"""The record of sendings: when each picture went out. The server's process appends to it, the launcher reads it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

#: Which camera, which pass, which frame, and when (seconds since 1970). Some 20 MB a day for a camera of 12.5 fps.
_LINE = struct.Struct("<IIId")


@dataclass(frozen=True, slots=True)
class Sending:
    """One picture of the file has gone out, to whoever was there.

    Attributes:
        pass_: how often the file had been played to its end before.
        frame: number of the picture in the file, from 0.
        at: when it was handed to the network (UTC).
    """

    pass_: int
    frame: int
    at: datetime


def append(record: int, camera: int, pass_: int, frame: int, unix_seconds: float) -> None:
    """Add one sending; whoever reads afterwards sees it.

    Args:
        record: file descriptor; nobody else writes to it.
        camera: its number.
    """
    os.write(record, _LINE.pack(camera, pass_, frame, unix_seconds))


def read(record: int, camera: int) -> list[Sending]:
    """All sendings of one camera so far, in order."""
    whole = os.fstat(record).st_size // _LINE.size * _LINE.size
    lines = os.pread(record, whole, 0)
    return [
        Sending(pass_, frame, datetime.fromtimestamp(at, UTC))
        for number, pass_, frame, at in _LINE.iter_unpack(lines)
        if number == camera
    ]
