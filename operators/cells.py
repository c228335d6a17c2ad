"""The value of a picture from those of its cells, and both on the scale of scores.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def clips_and_mask(
    values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """Return the clips that a detector is run with, and their masks, if any: alone, or under CLIP and MASK."""
    return (values["CLIP"], values.get("MASK")) if isinstance(values, Mapping) else (values, None)


def judged(
    cells: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    rarity: Rarity,
    mask: npt.NDArray[np.uint8] | None = None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Return what a detector serves of N pictures.

    Args:
        cells: raw values, (N, h, w).
        features: (N, D).
        rarity: the map from values of pictures to scores.
        mask: cells that are ignored, not zero: uint8 (N, h, w). Before the picture's value each of them becomes as
            low as the picture's lowest cell, so that it never raises SCORE, and its HEAT is 0. Where all are, SCORE is
            0.

    Returns:
        SCORE (N, 1), the rarity of the picture's value; FEATURES; HEAT (N, h, w), each cell on the scale of SCORE: as
        rare as a whole picture of that value.

    Raises:
        ValueError: a mask of another shape.
    """
    score, heat = rarity.scores(picture_value(cells))[:, None], rarity.scores(cells)
    if mask is not None:
        if mask.shape != cells.shape:
            raise ValueError(f"a mask must have the shape of the cells, {cells.shape}, got {mask.shape}")
        ignored = mask != 0
        # Not left out: where fewer than HIGHEST are left, the mean would rise without the low ones among the ignored.
        value = picture_value(np.where(ignored, cells.min(axis=(1, 2), keepdims=True), cells))
        score = np.where(ignored.all(axis=(1, 2)), 0.0, rarity.scores(value))[:, None]
        heat[ignored] = 0.0
    return {"SCORE": score.astype(np.float32), "FEATURES": features, "HEAT": heat.astype(np.float32)}
