"""STL-10 in its binary version: 113,000 colour pictures of 96 × 96 pixels (A. Coates et al. 2011).

A picture is 27,648 bytes: the red, green and blue planes, column by column. Labels are bytes from 1 to 10. The 100,000
pictures without labels are mapped and not loaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.alike.pictures.binary_files import map_bytes, read_bytes, read_names
from models.alike.pictures.picture_set import Labels, PictureData, PictureSet, Pixels
from models.jobs.errors import TrainingError

FOLDER, NAMES = "stl10_binary", "class_names.txt"

_SIDE, _CLASSES = 96, 10
_PICTURE = 3 * _SIDE * _SIDE


def read_stl10(folder: Path) -> PictureData:
    """Return STL-10 from its folder, or from the folder that holds it.

    The 5000 training pictures are learned from and the 8000 test pictures are judged.

    Raises:
        TrainingError: files are missing, or are not of this layout.
    """
    place = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    learned, judged = (_labelled(place / f"{part}_X.bin", place / f"{part}_y.bin") for part in ("train", "test"))
    unlabelled = PictureSet(_pixels(place / "unlabeled_X.bin"))
    return PictureData("STL-10", learned, judged, read_names(place / NAMES, _CLASSES), unlabelled)


def _labelled(pictures: Path, labels: Path) -> PictureSet:
    pixels, found = _pixels(pictures), read_bytes(labels)
    if len(found) != len(pixels):
        raise TrainingError(f"{labels}: expected {len(pixels)} labels, a byte each (got {len(found)})")
    if found.min() < 1 or found.max() > _CLASSES:
        raise TrainingError(f"{labels}: expected labels from 1 to {_CLASSES} (got {found.min()} to {found.max()})")
    own: Labels = found.astype(np.int64) - 1
    return PictureSet(pixels, own)


def _pixels(file: Path) -> Pixels:
    data = map_bytes(file)
    if not data.size or data.size % _PICTURE:
        raise TrainingError(f"{file}: not pictures of STL-10 (got {data.size} bytes); expected {_PICTURE} a picture")
    columns = data.reshape(-1, 3, _SIDE, _SIDE)
    return columns.transpose(0, 3, 2, 1)
