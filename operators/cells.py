"""The value of a picture from those of its cells, and both on the scale of scores.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.rarity import Rarity

#: Number of highest cells that are averaged: about those that a pedestrian of 25 pixels touches, of 8 pixels a side.
HIGHEST = 10


def picture_value(cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the mean of each picture's :data:`HIGHEST` highest cells, of all if it has fewer: (..., h, w) → (...)."""
    flat = cells.reshape(*cells.shape[:-2], -1)
    many = min(HIGHEST, flat.shape[-1])
    # Sorted, so that the sum does not depend on the order in which a partition leaves equal cells.
    highest = np.sort(np.partition(flat, -many, axis=-1)[..., -many:], axis=-1)
    value: npt.NDArray[np.float32] = highest.mean(axis=-1, dtype=np.float32)
    return value


def judged(
    cells: npt.NDArray[np.float32], features: npt.NDArray[np.float32], rarity: Rarity
) -> dict[str, npt.NDArray[np.float32]]:
    """Return what a detector serves of N pictures.

    Args:
        cells: raw values, (N, h, w).
        features: (N, D).
        rarity: the map from values of pictures to scores.

    Returns:
        SCORE (N, 1), the rarity of the picture's value; FEATURES; HEAT (N, h, w), each cell on the scale of SCORE: as
        rare as a whole picture of that value.
    """
    score, heat = rarity.scores(picture_value(cells))[:, None], rarity.scores(cells)
    return {"SCORE": score.astype(np.float32), "FEATURES": features, "HEAT": heat.astype(np.float32)}
