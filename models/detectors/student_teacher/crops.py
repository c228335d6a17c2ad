"""Square crops of films: the pictures on which teachers are trained."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.data.npy_rows import NpyRows
from models.detectors.student_teacher.teacher_recipe import CropChoice
from models.jobs.errors import TrainingError
from pipeline.sources.base import Fit, FrameSpec, SegmentOver
from pipeline.sources.files import FileSource
from pipeline.sources.film_files import PassedOver, films_below

#: Side of a crop, pixels: what the published network sees. A teacher sees it at half that size.
SIDE = 256

Picture = npt.NDArray[np.uint8]


def films_of(choice: CropChoice) -> list[Path]:
    """Return the films, in order.

    Raises:
        TrainingError: a place is missing, or holds none.
    """
    found: list[Path] = []
    for place in choice.films:
        below = list(films_below(place, PassedOver())) if place.is_dir() else [place] if place.is_file() else []
        if not below:
            advice = f"; {choice.obtain}" if choice.obtain else ""
            raise TrainingError(f"crops.films: {place}: no film there; expected films, or folders of them{advice}")
        found += below
    return found


def write_crops(
    file: Path, films: Sequence[Path], choice: CropChoice, seed: int, progress: Callable[[int], None]
) -> int:
    """Write crops of the films as rows of ``file``, uint8 (:data:`SIDE`, :data:`SIDE`, 3) RGB.

    Args:
        progress: called with the number of films that are done.

    Returns:
        their number.

    Raises:
        SourceError: a film cannot be read.
        OSError: the file cannot be written.
    """
    spec = FrameSpec(choice.height, choice.width, Fit.CROP, choice.fps)
    rows = NpyRows(file, np.uint8, (SIDE, SIDE, 3))
    number = 0
    try:
        for ordinal, film in enumerate(films):
            random = np.random.default_rng([seed, ordinal])
            source = FileSource("teacher", film)
            with closing(source.frames([spec], threading.Event())) as frames:  # type: ignore[type-var]
                for frame in frames:
                    if isinstance(frame, SegmentOver):
                        continue
                    crops = [crop(frame.images[spec], choice.least_side, random) for _ in range(choice.of_each)]
                    rows.add(np.stack(crops))
                    number += len(crops)
            progress(ordinal + 1)
    finally:
        rows.close()
    return number


def crop(picture: Picture, least_side: int, random: np.random.Generator) -> Picture:
    """Return a square of a picture, at a place and of a size that are drawn, mirrored or not.

    Args:
        picture: uint8 (H, W, 3).

    Returns:
        uint8 (:data:`SIDE`, :data:`SIDE`, 3).
    """
    height, width = picture.shape[:2]
    most = min(height, width)
    side = int(random.integers(min(least_side, most), most + 1))
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    found = picture[top : top + side, left : left + side]
    if random.random() < 0.5:
        found = found[:, ::-1]
    way = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(found), (SIDE, SIDE), interpolation=way), np.uint8)
