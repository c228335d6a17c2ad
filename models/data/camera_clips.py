"""Clips of one camera for a detector that learns it: small pictures of the camera's aspect, at a part of its rate."""

from __future__ import annotations

import dataclasses
import math

from models.data.normal_footage import FootageError, NormalFootage
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec


def clip_of_camera(
    footage: NormalFootage, *, frames: int, height: int, cell: int, least_cells: int, least_fps: float
) -> ClipSpec:
    """Return the clips, one for each frame.

    Args:
        height: of the pictures, pixels; no higher than the camera's own.
        cell: pixels of which height and width are multiples.
        least_cells: of a side.
        least_fps: clips have the camera's rate over a whole number, as low as this allows; a slower camera has its own.

    Raises:
        FootageError: the pictures are too small, or too narrow.
    """
    film = min(footage.films, key=lambda film: film.rate)
    # A little is added, as the rate of a camera of 30 pictures a second may be measured as 29.99.
    every = max(1, int(film.rate / least_fps + 0.01))
    height = min(height, film.height // cell * cell)
    width = max(cell, round(height * film.width / film.height / cell) * cell)
    if min(height, width) < least_cells * cell:
        least = least_cells * cell
        raise FootageError(
            f"{film.path}: pictures of {film.width}×{film.height}, of which {width}×{height} would be compared; "
            f"expected at least {least}×{least}; use footage of larger pictures"
        )
    return ClipSpec(frames, 1, height, width, Fit.STRETCH, round(film.rate / every, 3))


def sparser(clip: ClipSpec, footage: NormalFootage, most: int) -> ClipSpec:
    """Return the clips so far apart that there are about ``most`` of them, evenly over the footage."""
    assert clip.fps is not None
    return dataclasses.replace(clip, stride=max(clip.stride, math.ceil(footage.seconds * clip.fps / most)))
