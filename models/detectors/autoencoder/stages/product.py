"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    autoencoder.safetensors   the network, what is normal for it, and the map from values to scores

and the files of :mod:`models.jobs.learning`. The network learns from the footage that is not held back. So does what is
normal of each place. All else is fitted to what is held back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.cell_values import CellValues
from models.data.normal_footage import NormalFootage
from models.detectors.autoencoder.card import Architecture, AutoencoderCard
from models.detectors.autoencoder.network import Autoencoder
from models.detectors.autoencoder.normal_errors import fit_normal
from models.detectors.autoencoder.recipe import AutoencoderRecipe, Normal
from models.detectors.autoencoder.weights import save_learned
from models.jobs.learning import Judged, write_learned
from operators.cells import picture_value
from operators.rarity import fit_rarity

#: Least scale of the tail of values, in spreads of the errors.
_LEAST_SCALE = 0.1


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: AutoencoderRecipe,
    trained: tuple[Autoencoder, float],
    errors: CellValues,
) -> None:
    """Write the product.

    Args:
        trained: result of the stage ``network``.
        errors: result of the stage ``errors``.

    Raises:
        OSError: the folder cannot be written.
    """
    network, loss = trained
    by_place = recipe.normal is Normal.PLACE
    held_back = errors.places.held_back
    normal = fit_normal(errors.values[np.flatnonzero(~held_back if by_place else held_back)], by_place=by_place)
    parts = [picture_value(normal.strangeness(part)) for part, _ in errors.parts()]
    values = np.concatenate(parts).astype(np.float64)
    rarity = fit_rarity(values[held_back], least_scale=_LEAST_SCALE)
    sees = ["things whose looks were not in the footage, wherever they are"]
    write_learned(
        folder,
        AutoencoderCard,
        footage,
        recipe,
        recipe.clip(footage),
        Judged(
            errors.places,
            rarity.scores(values),
            heat_of=lambda at: rarity.scores(normal.strangeness(errors.values[np.array([at])])[0]),
        ),
        kernel=recipe.kernel,
        training={"loss": loss},
        description=f"How badly a network reconstructs pictures of the camera {footage.camera} that has learned its "
        "normal footage.",
        architecture=Architecture(
            channels=recipe.channels,
            code=recipe.code,
            error=recipe.error,
            places=(normal.centre.shape[1], normal.centre.shape[2]),
            levels=len(rarity.levels),
        ),
        weights_sha256=save_learned(network, normal, rarity, folder),
        sees=[*sees, "things that move as none did, as far as a few pictures show it"] if recipe.frames > 1 else sees,
        does_not_see=[
            "things that the network reconstructs well although it never saw them, such as smooth ones",
            "what is smaller than a few cells",
        ],
    )
