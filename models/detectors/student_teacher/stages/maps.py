"""The stage ``maps``: the maps of clips of the footage, on the disk; 11 kB a clip of 360 × 240 and receptive field.

The clips are those of :func:`models.data.camera_clips.judged_clips`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.camera_clips import judged_clips
from models.data.clip_places import ClipPlaces, PlaceList
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows, Rows
from models.detectors.student_teacher.program import ClipMaps
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.strangeness import RawMaps

ERRORS_FILE, VARIANCES_FILE, FASTER_FILE = "errors.npy", "variances.npy", "faster.npy"
PLACES_FILE = "places.npz"


@dataclass(frozen=True, slots=True)
class ClipsFound:
    """The n clips, in order.

    Attributes:
        errors, variances, faster: see :class:`models.detectors.student_teacher.strangeness.RawMaps`; on the disk until
            they are looked at.
    """

    errors: Rows
    variances: Rows
    faster: Rows | None
    places: ClipPlaces

    def maps(self, rows: slice | npt.NDArray[np.int64]) -> RawMaps:
        """Return the maps of some clips, in memory."""
        faster = None if self.faster is None else np.asarray(self.faster[rows])
        return RawMaps(np.asarray(self.errors[rows]), np.asarray(self.variances[rows]), faster)


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: StudentTeacherRecipe,
    clip_maps: ClipMaps,
    progress: Callable[[float], None],
) -> None:
    """Write the maps.

    Args:
        clip_maps: with the networks as they are served.
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError, SourceError: a film cannot be used.
        OSError: the folder cannot be written.
    """
    clip = recipe.clip(footage)
    names = [ERRORS_FILE, VARIANCES_FILE, *([FASTER_FILE] if recipe.speed else [])]
    files = [NpyRows(folder / name, np.float32) for name in names]
    places = PlaceList()
    try:
        for one in judged_clips(footage, clip):
            progress(one.end)
            maps, _ = clip_maps.of(one.window.pixels[None])
            for file, values in zip(files, (maps.errors, maps.variances, maps.faster), strict=False):
                assert values is not None
                file.add(values)
            places.add(one)
    finally:
        for file in files:
            file.close()
    places.places().write(folder / PLACES_FILE)


def read(folder: Path) -> ClipsFound:
    """Return what :func:`compute` wrote. Raises OSError."""
    faster = folder / FASTER_FILE
    return ClipsFound(
        NpyFile(folder / ERRORS_FILE),
        NpyFile(folder / VARIANCES_FILE),
        NpyFile(faster) if faster.exists() else None,
        ClipPlaces.read(folder / PLACES_FILE),
    )
