"""The stage ``sample``: rows of places or clips, drawn at random from the footage that is learned from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.data.camera_clips import sample_of_one_scene
from models.data.normal_footage import NormalFootage
from models.data.reservoir import Reservoir
from models.detectors.outlier.program import describe
from models.detectors.outlier.projection import Rows, rows_of
from models.detectors.outlier.recipe import OutlierRecipe

FILE = "rows.npy"
#: Clips from which rows are drawn: neighbours in time show the same.
_CLIPS = 1200


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: OutlierRecipe,
    progress: Callable[[float], None],
    report: Callable[[str], None],
) -> None:
    """Write the sample, and check the footage (:func:`models.data.camera_clips.sample_of_one_scene`).

    Raises:
        FootageError, SourceError: the footage cannot be learned from, or not be read.
        WeightsError: the backbone's weights are not in the cache.
        OSError: the folder cannot be written.
    """
    clip = recipe.clip(footage)
    network = recipe.describer.network(recipe, clip).open()
    rows, counts = Reservoir(recipe.sample), [0, 0]
    for one in sample_of_one_scene(footage, clip, _CLIPS, report=report, progress=progress):
        counts[one.held_back] += 1
        if not one.held_back:
            rows.add(rows_of(describe(network, one.window.pixels[None])[0], pooled=recipe.features == "pooled"))
    if recipe.features == "pooled":  # each clip is one row
        footage.check_enough(*counts)
    np.save(folder / FILE, rows.rows())


def read(folder: Path) -> Rows:
    """Return the rows, float32 (n, C). Raises OSError."""
    rows: Rows = np.load(folder / FILE, allow_pickle=False)
    return rows
