"""The places of the clips of normal footage, kept beside what was computed of each clip."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.normal_footage import PlacedClip


@dataclass(frozen=True, slots=True)
class ClipPlaces:
    """The places of n clips of the footage, in order.

    Attributes:
        film, run: int64 (n,), ordinals of films, and of unbroken runs of clips; below 0 in an earlier part.
        start, end: float64 (n,), seconds of the footage's clock.
        held_back: bool (n,).
    """

    film: npt.NDArray[np.int64]
    run: npt.NDArray[np.int64]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    held_back: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.film)

    def held_back_runs(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the values of the held-back clips, (n, ...), by unbroken runs."""
        borders = np.flatnonzero(np.diff(self.run)) + 1
        held = np.split(self.held_back, borders)
        return [part for part, is_held in zip(np.split(values, borders), held, strict=True) if is_held[0]]

    def write(self, file: Path) -> None:
        """Write them as ``.npz``. Raises OSError."""
        np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def read(cls, file: Path) -> ClipPlaces:
        """Read what :meth:`write` wrote. Raises OSError."""
        with np.load(file, allow_pickle=False) as places:
            return cls(**places)


class PlaceList:
    """Collects the places of clips, without the clips."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, float, float, bool]] = []

    def add(self, clip: PlacedClip) -> None:
        """Take the next clip's place."""
        self._rows.append((clip.film, clip.run, clip.start, clip.end, clip.held_back))

    def places(self) -> ClipPlaces:
        """Return all of them."""
        rows = np.array(self._rows, [("film", "i8"), ("run", "i8"), ("start", "f8"), ("end", "f8"), ("held", "?")])
        return ClipPlaces(*(np.ascontiguousarray(rows[name]) for name in ("film", "run", "start", "end", "held")))
