"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    motion.safetensors     statistics of the rows, and the map from values to scores

and the files of :mod:`models.jobs.learning`. The rows' statistics come from the footage that is learned from. The map
and the thresholds come from what is held back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.normal_footage import NormalFootage
from models.detectors.motion.card import Architecture, MotionCard
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.scale import fit_scale
from models.detectors.motion.stages.speeds import ClipSpeeds
from models.detectors.motion.weights import save_learned
from models.jobs.learning import Judged, write_learned
from operators.cells import picture_value
from operators.motion import RowStatistics, SpeedHistogram
from pipeline.windows import ClipSpec

#: Clips that are read at once: 5 MB.
_AT_ONCE = 1000


def compute(
    folder: Path, footage: NormalFootage, recipe: MotionRecipe, clip: ClipSpec, chosen: Any, found: ClipSpeeds
) -> None:
    """Write the product.

    Args:
        clip: as the detector takes them.
        chosen: result of the stage ``gap``.
        found: of all footage.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = _statistics(found)
    values = np.concatenate([picture_value(rows.deviations(part)) for part in _parts(found)]).astype(np.float64)
    rarity = fit_scale(values[found.places.held_back])
    write_learned(
        folder,
        MotionCard,
        footage,
        recipe,
        clip,
        Judged(
            found.places,
            rarity.scores(values),
            heat_of=lambda at: rarity.scores(rows.deviations(found.speeds[at])),
        ),
        kernel=recipe.kernel,
        training={"gap": chosen},
        description=f"How fast things move at the camera {footage.camera}, compared with its normal footage.",
        architecture=Architecture(rows=len(rows.centre), levels=len(rarity.levels)),
        weights_sha256=save_learned(rows, rarity, folder),
        sees=["things that move faster than others do at the same height of the picture"],
        does_not_see=["slow incidents: a scuffle, a fall", "things that lie still", "the unusual at a usual speed"],
    )


def _statistics(found: ClipSpeeds) -> RowStatistics:
    histogram = SpeedHistogram(found.speeds.shape[1])
    for first, part in zip(range(0, len(found.speeds), _AT_ONCE), _parts(found), strict=True):
        histogram.add(part[~found.places.held_back[first : first + _AT_ONCE]])
    return histogram.statistics()


def _parts(found: ClipSpeeds) -> Iterator[npt.NDArray[np.float32]]:
    for first in range(0, len(found.speeds), _AT_ONCE):
        yield found.speeds[first : first + _AT_ONCE]
