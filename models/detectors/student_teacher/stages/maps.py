"""The stage ``maps``: the maps of clips of the footage, on the disk; 11 kB a clip of 360 × 240 and receptive field.

Held-back footage counts in unbroken stretches, because thresholds are found on scores as they come live. Each held-back
piece gives its first clips, as many as an even share of the whole. Footage that was learned from is looked at here and
there, for its strangest moments.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.clip_places import ClipPlaces, PlaceList
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows, Rows
from models.detectors.student_teacher.program import ClipMaps
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.strangeness import RawMaps
from models.jobs.rows import read_json, write_json

ERRORS_FILE, VARIANCES_FILE, FASTER_FILE = "errors.npy", "variances.npy", "faster.npy"
PLACES_FILE, LEARNED_FILE = "places.npz", "learned.json"
#: Clips that are computed, at most: each costs about 50 ms of one core, 75 with speed.
_HELD_BACK, _LEARNED = 1000, 500


@dataclass(frozen=True, slots=True)
class ClipsFound:
    """The n clips, in order.

    Attributes:
        errors, variances, faster: see :class:`models.detectors.student_teacher.strangeness.RawMaps`; on the disk until
            they are looked at.
        learned_seconds: length of the footage that is learned from, whether its clips are among these or not.
    """

    errors: Rows
    variances: Rows
    faster: Rows | None
    places: ClipPlaces
    learned_seconds: float

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
    clips = footage.seconds * (clip.fps or 1)
    pieces = math.ceil(footage.seconds / footage.piece_seconds)
    of_piece = math.ceil(_HELD_BACK / sum(footage.is_held_back(piece) for piece in range(pieces)))
    every = max(1, math.ceil(clips * (1 - footage.hold_out) / _LEARNED))
    names = [ERRORS_FILE, VARIANCES_FILE, *([FASTER_FILE] if recipe.speed else [])]
    files = [NpyRows(folder / name, np.float32) for name in names]
    seen: Counter[tuple[int, int]] = Counter()
    places = PlaceList()
    learned = 0
    try:
        for ordinal, one in enumerate(footage.clips(clip)):
            progress(one.end)
            seen[one.film, one.piece] += 1
            learned += not one.held_back
            if seen[one.film, one.piece] > of_piece if one.held_back else ordinal % every:
                continue
            maps, _ = clip_maps.of(one.window.pixels[None])
            for file, values in zip(files, (maps.errors, maps.variances, maps.faster), strict=False):
                assert values is not None
                file.add(values)
            places.add(one)
    finally:
        for file in files:
            file.close()
    places.places().write(folder / PLACES_FILE)
    write_json(folder / LEARNED_FILE, {"seconds": round(learned / (clip.fps or 1), 1)})


def read(folder: Path) -> ClipsFound:
    """Return what :func:`compute` wrote. Raises OSError."""
    faster = folder / FASTER_FILE
    return ClipsFound(
        NpyFile(folder / ERRORS_FILE),
        NpyFile(folder / VARIANCES_FILE),
        NpyFile(faster) if faster.exists() else None,
        ClipPlaces.read(folder / PLACES_FILE),
        read_json(folder / LEARNED_FILE)["seconds"],
    )
