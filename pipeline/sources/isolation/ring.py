"""Shared memory for the pictures of one camera: a few slots that a decoder process writes and the worker reads.

The memory is a file without a name (``memfd_create``), so nothing is left behind, however the two processes end. The
slot that became free last is written next: a worker that keeps up touches the pages of one slot only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

#: Pictures that may wait for the worker, besides those in its own windows and queues.
SLOTS = 3

#: Arrays begin at multiples of this, as vector instructions like it. Bytes.
_ALIGNMENT = 64

#: A decoder cannot have the worker map more than this for a camera. Bytes; a picture of 8K in RGB has 100 MB.
MOST_BYTES = 1 << 30


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def create_memory() -> int:
    """Return the descriptor of new shared memory, which can grow and never shrink.

    A reader of memory that shrank would die of it (SIGBUS).
    """
    memory = os.memfd_create("mistwatch-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return memory


class SlotWriter:
    """The decoder's side: puts arrays into free slots. Not thread-safe.

    Args:
        memory: descriptor of :func:`create_memory`; it stays the caller's.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._map: mmap.mmap | None = None
        self._slot_bytes = 0
        self._free = list(range(SLOTS))

    def has_room(self, size: int) -> bool:
        """Return whether a frame of so many bytes could be written now. Larger slots need all of them free."""
        return bool(self._free) if size <= self._slot_bytes else len(self._free) == SLOTS

    def write(self, arrays: Sequence[npt.NDArray[np.uint8]]) -> tuple[int, list[int]]:
        """Copy the arrays into a free slot; return its number, and where in the memory each of them begins.

        Raises:
            ValueError: no slot is free, or the frame is larger than any picture.
        """
        size = needed(arrays)
        if not self.has_room(size):
            raise ValueError("no slot is free")
        if size > self._slot_bytes or self._map is None:
            self._grow(size)
        assert self._map is not None
        slot = self._free.pop()
        offset = slot * self._slot_bytes
        offsets = []
        for array in arrays:
            np.ndarray(array.shape, np.uint8, self._map, offset)[...] = array
            offsets.append(offset)
            offset += _aligned(array.nbytes)
        return slot, offsets

    def release(self, slot: int) -> None:
        """Take note that the worker has read a slot."""
        self._free.append(slot)

    def _grow(self, size: int) -> None:
        slot_bytes = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        if slot_bytes * SLOTS > MOST_BYTES:
            raise ValueError(f"a frame of {size} bytes is too large")
        os.ftruncate(self._memory, slot_bytes * SLOTS)
        self._map = mmap.mmap(self._memory, slot_bytes * SLOTS)
        self._slot_bytes = slot_bytes


def needed(arrays: Sequence[npt.NDArray[np.uint8]]) -> int:
    """Return the size of a slot that holds the arrays, bytes."""
    return sum(_aligned(array.nbytes) for array in arrays)


class SlotReader:
    """The worker's side: copies arrays out of the slots.

    Args:
        memory: descriptor of :func:`create_memory`; it stays the caller's.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._map: mmap.mmap | None = None

    def view(self, offset: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Return an array in the memory, which holds until its slot is released.

        Raises:
            ValueError: it does not lie in the memory.
        """
        size = 1
        for length in shape:
            if length < 1:
                raise ValueError(f"an array of shape {shape}")
            size *= length
        if offset < 0 or offset + size > MOST_BYTES:
            raise ValueError(f"an array of {size} bytes at {offset}")
        if self._map is None or offset + size > len(self._map):
            self._map = mmap.mmap(self._memory, os.fstat(self._memory).st_size, access=mmap.ACCESS_READ)
            if offset + size > len(self._map):
                raise ValueError(f"an array of {size} bytes at {offset}, in a memory of {len(self._map)}")
        return np.ndarray(shape, np.uint8, self._map, offset)

    def close(self) -> None:
        """Give the mapping back, unless an array in it is still in use."""
        if self._map is not None:
            with suppress(BufferError):
                self._map.close()
