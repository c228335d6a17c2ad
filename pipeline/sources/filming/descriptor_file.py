"""A file that is open already, and is written from its beginning to its end."""

from __future__ import annotations

import os

#: The largest pieces that are written, bytes.
_CHUNK_BYTES = 1 << 20


class DescriptorFile:
    """Writes everything to a descriptor, in pieces. The descriptor stays the caller's to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        """See :class:`pipeline.sources.filming.remux.Target`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view[:_CHUNK_BYTES]) :]
        return len(data)
