"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    memory_bank.safetensors    what is remembered of normal patches, and the map from values to scores

and the files of :mod:`models.jobs.learning`. The patches come from the footage that is learned from. The map and the
thresholds come from what is held back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.backbones.card_entry import entry
from models.backbones.efficientnet_lite0 import NAME
from models.backbones.patch_descriptors import channels
from models.data.cell_values import CellValues
from models.data.normal_footage import NormalFootage
from models.detectors.memory_bank.card import Architecture, MemoryBankCard
from models.detectors.memory_bank.distances import Normality
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from models.detectors.memory_bank.weights import save_learned
from models.jobs.learning import Judged, write_learned
from operators.cells import picture_value
from operators.rarity import fit_rarity

#: Least scale of the tail of values, in medians of the held-back values: for a camera whose pictures hardly differ.
_LEAST_SCALE = 0.01


def compute(
    folder: Path, footage: NormalFootage, recipe: MemoryBankRecipe, normality: Normality, distances: CellValues
) -> None:
    """Write the product.

    Args:
        distances: see :func:`models.data.cell_values.write_cell_values`.

    Raises:
        OSError: the folder cannot be written.
    """
    values = np.concatenate([picture_value(part) for part, _ in distances.parts()]).astype(np.float64)
    held_back = values[distances.places.held_back]
    rarity = fit_rarity(held_back, least_scale=max(_LEAST_SCALE * float(np.median(held_back)), 1e-6))
    remembered = normality.arrays()
    write_learned(
        folder,
        MemoryBankCard,
        footage,
        recipe,
        recipe.clip(footage),
        Judged(distances.places, rarity.scores(values), heat_of=lambda at: rarity.scores(distances.values[at])),
        kernel=recipe.kernel,
        training={},
        description=f"How things look at the camera {footage.camera}, compared with its normal footage.",
        architecture=Architecture(
            layers=recipe.layers,
            enlarge=recipe.enlarge,
            grid=recipe.grid,
            distance=recipe.distance,
            channels=channels(recipe.layers),
            patches=len(remembered.get("bank", ())),
            levels=len(rarity.levels),
        ),
        backbone=entry(NAME),
        weights_sha256=save_learned(normality, rarity, folder),
        sees=["things that look unlike all that is usual at the camera: a vehicle among people, an object left behind"],
        does_not_see=["the usual at an unusual speed, in an unusual place or at an unusual time"],
    )
