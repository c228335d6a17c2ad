"""The strangest moments of the footage that a detector has learned from, for a person to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.clip_places import ClipPlaces
from models.data.normal_footage import NormalFootage
from pipeline.printable import storable

MOMENTS_FILE = "moments.json"

#: Number of moments, and the least time between two of them, seconds.
MOMENTS, _APART_SECONDS = 12, 5.0


def strangest_moments(
    footage: NormalFootage,
    places: ClipPlaces,
    scores: npt.NDArray[np.float64],
    heat_of: Callable[[int], npt.NDArray[np.floating]] | None,
) -> list[dict[str, Any]]:
    """Return the clips with the highest scores, the strangest first, none close to another one; plain JSON.

    Clips of an earlier part are left out: their films may be gone.

    Args:
        scores: (n,), one for each place.
        heat_of: returns the heat of a clip, (h, w) in [0, 1], by its ordinal; None where there is none.

    Returns:
        for each moment: its ``film``, the ``seconds`` since that film's first picture, ``start`` and ``end`` on the
        footage's clock, ``score``, ``held_back`` and ``heat`` (None without it).
    """
    chosen: list[int] = []
    apart = _APART_SECONDS if footage.shows_one_scene else 0.0
    for ordinal in np.argsort(-scores, kind="stable"):
        if places.film[ordinal] < 0:
            continue
        if all(abs(places.start[ordinal] - places.start[other]) >= apart for other in chosen):
            chosen.append(int(ordinal))
        if len(chosen) == MOMENTS:
            break
    films = footage.films
    return [
        {
            "film": storable(str(films[places.film[at]].path)),
            "seconds": films[places.film[at]].since_start(float(places.start[at] + places.end[at]) / 2),
            "start": float(places.start[at]),
            "end": float(places.end[at]),
            "score": round(float(scores[at]), 4),
            "held_back": bool(places.held_back[at]),
            "heat": None if heat_of is None else heat_of(at).round(3).tolist(),
        }
        for at in chosen
    ]
