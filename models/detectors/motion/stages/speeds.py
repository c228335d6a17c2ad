"""The stage ``speeds``: the speed of every cell in every clip of the footage, on the disk; 5 kB a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.clip_places import ClipPlaces, PlaceList
from models.data.flow import DenseFlow
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows, Rows
from operators.motion import CELL, cell_speeds
from pipeline.windows import ClipSpec

SPEEDS_FILE, PLACES_FILE = "speeds.npy", "places.npz"


@dataclass(frozen=True, slots=True)
class ClipSpeeds:
    """The n clips of the footage, in order.

    Attributes:
        speeds: float32 (n, h, w), on the disk until they are looked at.
    """

    speeds: Rows
    places: ClipPlaces


def compute(folder: Path, footage: NormalFootage, clip: ClipSpec, progress: Callable[[float], None]) -> None:
    """Write the speeds.

    Args:
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError, SourceError: a film cannot be used.
        OSError: the folder cannot be written.
    """
    flow = DenseFlow()
    rows = NpyRows(folder / SPEEDS_FILE, np.float32, (clip.height // CELL, clip.width // CELL))
    places = PlaceList()
    try:
        for one in footage.clips(clip):
            rows.add(cell_speeds(flow.between(one.window.pixels[0], one.window.pixels[-1]))[0][None])
            places.add(one)
            progress(one.end)
    finally:
        rows.close()
    places.places().write(folder / PLACES_FILE)


def read(folder: Path) -> ClipSpeeds:
    """Return what :func:`compute` wrote. Raises OSError."""
    return ClipSpeeds(NpyFile(folder / SPEEDS_FILE), ClipPlaces.read(folder / PLACES_FILE))
