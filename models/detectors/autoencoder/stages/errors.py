"""The stage ``errors``: the maps of clips of the footage, :mod:`models.data.cell_values`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data.cell_values import write_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.autoencoder.program import ERRORS
from models.detectors.autoencoder.recipe import AutoencoderRecipe
from models.engines.one_by_one import Network


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: AutoencoderRecipe,
    network: Network,
    progress: Callable[[float], None],
) -> None:
    """Write the maps, (K, h, w) a clip.

    Args:
        network: as it is served.

    Raises:
        FootageError, SourceError, OSError: see :func:`models.data.cell_values.write_cell_values`.
    """
    write_cell_values(
        folder, footage, recipe.clip(footage), lambda window: network.run(window.pixels[None])[ERRORS][0], progress
    )
