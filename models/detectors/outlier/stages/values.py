"""The stage ``values``: how strange places of clips of the footage are, :mod:`models.data.cell_values`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data.cell_values import write_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.outlier.judging import Judge
from models.detectors.outlier.program import describe
from models.detectors.outlier.recipe import OutlierRecipe


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: OutlierRecipe,
    judge: Judge,
    progress: Callable[[float], None],
) -> None:
    """Write the values.

    Raises:
        WeightsError: the backbone's weights are not in the cache.
        FootageError, SourceError, OSError: see :func:`models.data.cell_values.write_cell_values`.
    """
    clip = recipe.clip(footage)
    network = recipe.describer.network(recipe, clip).open()
    write_cell_values(
        folder, footage, clip, lambda window: judge.cells(describe(network, window.pixels[None])[0]), progress
    )
