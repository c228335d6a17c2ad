"""Values for every cell of clips of normal footage, on the disk; a map of 360 × 240 takes 5 kB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.camera_clips import judged_clips
from models.data.clip_places import ClipPlaces, PlaceList
from models.data.normal_footage import NormalFootage, Shown
from models.data.npy_rows import NpyFile, NpyRows, Rows
from pipeline.windows import ClipSpec

VALUES_FILE, PLACES_FILE = "values.npy", "places.npz"
#: Clips that are read at once: 5 MB.
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class CellValues:
    """The n clips, in order.

    Attributes:
        values: float32 (n, h, w) or (n, K, h, w), on the disk until they are looked at.
    """

    values: Rows
    places: ClipPlaces

    def parts(self) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """Yield the values of some clips after another, (m, ...), and whether each is held back, (m,)."""
        for first in range(0, len(self.values), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            yield self.values[some], self.places.held_back[some]


def write_cell_values(
    folder: Path,
    footage: NormalFootage,
    clip: ClipSpec,
    of_clip: Callable[[Shown], npt.NDArray[np.float32]],
    progress: Callable[[float], None],
) -> None:
    """Write the values of the clips on which a detector is judged (:func:`models.data.camera_clips.judged_clips`).

    Args:
        of_clip: returns the values of a clip's cells, (h, w) or (K, h, w).
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError, SourceError: a film cannot be used.
        OSError: the folder cannot be written.
    """
    rows, places = NpyRows(folder / VALUES_FILE, np.float32), PlaceList()
    try:
        for one in judged_clips(footage, clip):
            rows.add(of_clip(one.window)[None])
            places.add(one)
            progress(one.end)
    finally:
        rows.close()
    places.places().write(folder / PLACES_FILE)


def read_cell_values(folder: Path) -> CellValues:
    """Return what :func:`write_cell_values` wrote. Raises OSError."""
    return CellValues(NpyFile(folder / VALUES_FILE), ClipPlaces.read(folder / PLACES_FILE))
