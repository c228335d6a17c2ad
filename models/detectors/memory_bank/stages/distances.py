"""The stage ``distances``: how far cells of clips of the footage are from normal, :mod:`models.data.cell_values`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data.cell_values import write_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.memory_bank.descriptors import descriptor_network
from models.detectors.memory_bank.distances import Normality, cell_distances
from models.detectors.memory_bank.program import DESCRIPTORS
from models.detectors.memory_bank.recipe import MemoryBankRecipe


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: MemoryBankRecipe,
    normality: Normality,
    progress: Callable[[float], None],
) -> None:
    """Write the distances.

    Raises:
        WeightsError: the backbone's weights are not in the cache.
        FootageError, SourceError, OSError: see :func:`models.data.cell_values.write_cell_values`.
    """
    clip = recipe.clip(footage)
    network = descriptor_network(recipe.layers, recipe.enlarge, clip, recipe.grid).open()
    write_cell_values(
        folder,
        footage,
        clip,
        lambda window: cell_distances(normality, network.run(window.pixels[-1:])[DESCRIPTORS][0]),
        progress,
    )
