"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    motion.safetensors     statistics of the rows, and the map from values to scores

and the files of :mod:`models.jobs.learning`. The rows' statistics come from the footage that is learned from. The map
and the thresholds come from what is held back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.data.cell_values import CellValues
from models.data.normal_footage import NormalFootage
from models.detectors.motion.card import Architecture, MotionCard
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.scale import fit_scale
from models.detectors.motion.weights import save_learned
from models.jobs.learning import Judged, write_learned
from operators.cells import picture_value
from operators.motion import MotionHistogram, RowStatistics
from pipeline.windows import ClipSpec


def compute(
    folder: Path, footage: NormalFootage, recipe: MotionRecipe, clip: ClipSpec, chosen: Any, motion: CellValues
) -> None:
    """Write the product.

    Args:
        clip: as the detector takes them.
        chosen: result of the stage ``gap``.
        motion: (n, 2, h, w), see :func:`models.data.cell_values.write_cell_values`.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = _statistics(motion)
    values = np.concatenate([picture_value(rows.deviations(part)) for part, _ in motion.parts()]).astype(np.float64)
    rarity = fit_scale(values[motion.places.held_back])
    write_learned(
        folder,
        MotionCard,
        footage,
        recipe,
        clip,
        Judged(
            motion.places,
            rarity.scores(values),
            heat_of=lambda at: rarity.scores(rows.deviations(motion.values[at])),
        ),
        kernel=recipe.kernel,
        training={"gap": chosen},
        description=f"How fast things move at the camera {footage.camera}, compared with its normal footage.",
        architecture=Architecture(rows=rows.centre.shape[1], levels=len(rarity.levels)),
        weights_sha256=save_learned(rows, rarity, folder),
        sees=["things that move faster, or faster up and down, than others do at the same height of the picture"],
        does_not_see=["slow incidents", "things that lie still", "the unusual at a usual speed"],
    )


def _statistics(motion: CellValues) -> RowStatistics:
    histogram = MotionHistogram(motion.values.shape[2])
    for part, held_back in motion.parts():
        histogram.add(part[~held_back])
    return histogram.statistics()
