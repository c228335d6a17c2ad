"""``.npy`` files larger than memory: written row by row, and read without one of them staying open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class NpyRows:
    """A writer of a ``.npy`` file with one array whose first axis grows; the file is valid only after :meth:`close`.

    Args:
        row: the shape of a row, for an array that stays empty; else the first row decides.

    Raises:
        OSError: it cannot be written. So do the methods.
    """

    def __init__(self, file: Path, dtype: npt.DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row = row
        self._rows = 0
        self._handle = file.open("wb")
        self._write_header()

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows, (m, *row), converted to the file's type.

        Raises:
            ValueError: rows of another shape than those before.
        """
        if self._rows == 0:
            self._row = rows.shape[1:]
            self._write_header()
        if rows.shape[1:] != self._row:
            raise ValueError(f"rows must be of shape {self._row}, got {rows.shape[1:]}")
        self._handle.write(np.ascontiguousarray(rows, self._dtype).data)
        self._rows += len(rows)

    def close(self) -> None:
        """Finish the file; a second time does nothing."""
        if self._handle.closed:
            return
        try:
            self._write_header()
        finally:
            self._handle.close()

    def _write_header(self) -> None:
        # numpy leaves room for any length of the first axis, so that this can be done again when it is known.
        self._handle.seek(0)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, *self._row)}
        np.lib.format.write_array_header_1_0(self._handle, header)


class NpyFile:
    """The array in a ``.npy`` file; rows are read on access.

    The file is open only while it is read: a map of it would keep it open, and a process may have 1024 open files where
    a data set has thousands of videos.

    Attributes:
        shape, dtype: of the array, of one axis at least.

    Raises:
        OSError: it cannot be opened.
        ValueError, EOFError: it does not hold an array of numbers, row after row, or not all of it.
    """

    def __init__(self, file: Path) -> None:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        if not (mapped.ndim and mapped.flags.c_contiguous):
            raise ValueError(f"{file}: not an array of rows")
        self._file = file
        self._offset: int = mapped.offset
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a copy of some rows, as numpy understands an index of the first axis.

        Raises:
            IndexError: a row does not exist.
            OSError, ValueError: the file cannot be read any more, or has become shorter.
        """
        ordinals = np.arange(len(self))[rows]
        found = np.empty((ordinals.size, *self.shape[1:]), self.dtype)
        size = found[:1].nbytes
        with self._file.open("rb", buffering=0) as handle:
            for at, ordinal in enumerate(ordinals.flat):
                handle.seek(self._offset + int(ordinal) * size)
                if handle.readinto(found[at : at + 1].data) != size:
                    raise ValueError(f"{self._file}: has become shorter while it was in use")
        return found.reshape((*ordinals.shape, *self.shape[1:]))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)


#: An array whose first axis is looked up by ordinals or slices, in memory or in a file.
Rows = npt.NDArray[Any] | NpyFile
