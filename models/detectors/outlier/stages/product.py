"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    outlier.safetensors    the fitted estimator, its projection, and the map from values to scores

and the files of :mod:`models.jobs.learning`. The estimator was fitted to the footage that is learned from. The map and
the thresholds come from what is held back. In mode ``outlier`` that is contaminated, too: the stated share of the
held-back clips with the highest values is left out, or thresholds would lie above the incidents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.backbones.card_entry import entry
from models.data.cell_values import CellValues
from models.data.normal_footage import NormalFootage
from models.detectors.outlier.card import Architecture, OutlierCard
from models.detectors.outlier.judging import Judge
from models.detectors.outlier.recipe import OutlierRecipe
from models.detectors.outlier.weights import save_learned
from models.jobs.learning import Judged, write_learned
from operators.cells import picture_value
from operators.rarity import fit_rarity

#: Least scale of the tail of values, in spreads of the held-back values: for a camera whose pictures hardly differ.
_LEAST_SCALE = 0.01
_NAMES = {"lof": "local outlier factor", "forest": "isolation forest", "svm": "one-class SVM"}


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: OutlierRecipe,
    judge: Judge,
    about: Mapping[str, Any],
    found: CellValues,
) -> None:
    """Write the product.

    Args:
        about: see :func:`models.detectors.outlier.stages.fit.read`.
        found: see :func:`models.data.cell_values.write_cell_values`.

    Raises:
        FootageError: too few held-back clips are left to find thresholds.
        OSError: the folder cannot be written.
    """
    values = np.concatenate([picture_value(part) for part, _ in found.parts()]).astype(np.float64)
    usual = usual_clips(values, found.places.held_back, recipe.contamination)
    held_back = values[usual & found.places.held_back]
    footage.check_enough(int((~found.places.held_back).sum()), len(held_back))
    rarity = fit_rarity(held_back, least_scale=max(_LEAST_SCALE * float(held_back.std()), 1e-6))
    arrays, places = judge.arrays(), recipe.features == "places"
    size = next(len(arrays[name]) for name in ("sample", "sizes", "vectors") if name in arrays)
    write_learned(
        folder,
        OutlierCard,
        footage,
        recipe,
        recipe.clip(footage),
        Judged(
            found.places,
            rarity.scores(values),
            heat_of=(lambda at: rarity.scores(found.values[at])) if places else None,
            usual=usual if recipe.contamination else None,
        ),
        kernel=recipe.kernel,
        training={"estimator": dict(about)},
        description=f"How things look at the camera {footage.camera}, by a {_NAMES[recipe.estimator]} of its footage.",
        architecture=Architecture(
            estimator=recipe.estimator,
            mode=recipe.mode,
            contamination=recipe.contamination,
            features=recipe.features,
            layers=recipe.layers,
            enlarge=recipe.enlarge,
            grid=recipe.grid,
            values=about["values"],
            kept=arrays["axes"].shape[1] if "axes" in arrays else about["values"],
            projected="axes" in arrays,
            size=size,
            trees=len(arrays.get("roots", ())),
            levels=len(rarity.levels),
        ),
        backbone=entry(recipe.backbone),
        weights_sha256=save_learned(judge, rarity, folder),
        sees=[
            "things that look unlike all that is usual at the camera" if places else "pictures unlike the usual ones"
        ],
        does_not_see=[
            "the usual at an unusual speed, in an unusual place or at an unusual time"
            if places
            else "small things, and where in the picture something is unusual"
        ],
    )


def usual_clips(
    values: npt.NDArray[np.float64], held_back: npt.NDArray[np.bool_], contamination: float
) -> npt.NDArray[np.bool_]:
    """Return all clips but the stated share of the held-back ones with the highest values: bool (n,)."""
    usual = np.ones(len(values), np.bool_)
    held = np.flatnonzero(held_back)
    left_out = round(contamination * len(held))
    usual[held[np.argsort(-values[held], kind="stable")[:left_out]]] = False
    return usual
