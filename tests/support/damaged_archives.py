"""Archives of arrays whose one member, ``yard``, cannot be read as an array."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

DAMAGES = ("bytes", "corrupted", "unknown compression")


def damaged_archive(file: Path, damage: str) -> Path:
    if damage == "bytes":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("yard", b"no array")
        return file
    np.savez_compressed(file, yard=np.random.default_rng(0).random((40, 8, 8)))
    content = bytearray(file.read_bytes())
    if damage == "corrupted":
        middle = len(content) // 2
        content[middle : middle + 200] = b"\xff" * 200
    else:  # the method stands 8 bytes into the member's own header and 10 into the directory's
        for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            struct.pack_into("<H", content, content.index(mark) + offset, 77)
    file.write_bytes(content)
    return file
