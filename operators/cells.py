"""The value of a picture from those of its cells.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
