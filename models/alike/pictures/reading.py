"""The pictures that a recipe names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.alike.pictures.cifar10 import read_cifar10
from models.alike.pictures.picture_folders import read_picture_folder
from models.alike.pictures.picture_set import PictureData, PictureSet, divided
from models.alike.pictures.stl10 import read_stl10
from models.alike.recipe import Data
from models.data.digits import SIDE, read_digits
from models.jobs.errors import TrainingError


def read_pictures(recipe: Data, folder: Path | None = None) -> PictureData:
    """Return the pictures.

    Args:
        folder: of the data set; that of the recipe when None. scikit-learn's digits need none.

    Raises:
        TrainingError: the folder is missing, or cannot be used.
    """
    if recipe.layout == "digits":
        if folder is not None:
            raise TrainingError(f"{folder}: scikit-learn's digits need no folder; leave --data out")
        digits = read_digits()
        grey = np.round(255 * digits.pixels).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)
        return divided("scikit-learn's digits", PictureSet(grey, digits.labels), tuple("0123456789"), recipe.judged)
    place = folder or recipe.folder
    if place is None:
        raise TrainingError(
            "data.folder: the recipe does not say where its pictures are; name their folder: --data DIR"
        )
    if not place.is_dir():
        raise TrainingError(f"{place}: no such folder" + (f"; {recipe.obtain}" if recipe.obtain else ""))
    if recipe.layout == "cifar10":
        return read_cifar10(place)
    if recipe.layout == "stl10":
        return read_stl10(place)
    return read_picture_folder(place, side=recipe.side, grey=recipe.grey, judged=recipe.judged)
