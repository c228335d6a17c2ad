"""The stage ``speeds``: the speed of every cell in every clip of the footage, on the disk; 5 kB a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
        film, piece: int64 (n,), ordinals.
        start, end: float64 (n,), seconds of the footage's clock.
        held_back: bool (n,).
    """

    speeds: Rows
    film: npt.NDArray[np.int64]
    piece: npt.NDArray[np.int64]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    held_back: npt.NDArray[np.bool_]


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
    places: list[tuple[int, int, float, float, bool]] = []
    try:
        for one in footage.clips(clip):
            rows.add(cell_speeds(flow.between(one.window.pixels[0], one.window.pixels[-1]))[0][None])
            places.append((one.film, one.piece, one.start, one.end, one.held_back))
            progress(one.end)
    finally:
        rows.close()
    film, piece, start, end, held_back = zip(*places, strict=True)
    np.savez(
        folder / PLACES_FILE,
        film=np.array(film, np.int64),
        piece=np.array(piece, np.int64),
        start=np.array(start),
        end=np.array(end),
        held_back=np.array(held_back),
    )


def read(folder: Path) -> ClipSpeeds:
    """Return what :func:`compute` wrote. Raises OSError."""
    with np.load(folder / PLACES_FILE, allow_pickle=False) as places:
        return ClipSpeeds(NpyFile(folder / SPEEDS_FILE), **dict(places))
