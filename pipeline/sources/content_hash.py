"""Identity of a recording: a hash of its content."""

from __future__ import annotations

import hashlib
from pathlib import Path

#: Up to this size a recording's identity is the hash of all its bytes; above, of so many blocks spread evenly over it,
#: the first and the last among them, and of its size. A second of a fast disk, whatever the recording's length. Bytes.
HASH_WHOLE_BYTES = 256 << 20
HASH_BLOCKS = 256
HASH_BLOCK_BYTES = 1 << 20


def content_hash(path: Path) -> str:
    """The first 16 hexadecimal digits of a SHA-256: of the whole file, or of blocks of a very large one."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= HASH_WHOLE_BYTES:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
        else:
            digest.update(str(size).encode())
            for ordinal in range(HASH_BLOCKS):
                file.seek((size - HASH_BLOCK_BYTES) * ordinal // (HASH_BLOCKS - 1))
                digest.update(file.read(HASH_BLOCK_BYTES))
    return digest.hexdigest()[:16]
