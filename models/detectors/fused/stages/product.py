"""The stage ``product``: the learned model, as it is served, and the strangest moments of the footage.

    fused.safetensors      the map from values to scores
    members/FAMILY/        the members' models

and the files of :mod:`models.jobs.learning`. The map and the thresholds come from held-back footage.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.card import CameraCard
from models.data.cell_values import CellValues
from models.data.normal_footage import NormalFootage
from models.detectors.fused.card import Architecture, FusedCard
from models.detectors.fused.combining import combined
from models.detectors.fused.recipe import FusedRecipe
from models.detectors.fused.weights import MEMBERS_FOLDER, member_of, save_learned
from models.jobs.learning import Judged, write_learned
from models.jobs.moments import MOMENTS_FILE
from models.jobs.stages import STAGE_FILE
from operators.cells import picture_value
from operators.rarity import Rarity, fit_rarity
from pipeline import files
from pipeline.windows import ClipSpec

#: Least scale of the tail of values, in decades.
_LEAST_SCALE = 0.1


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: FusedRecipe,
    clip: ClipSpec,
    members: Mapping[Path, CameraCard],
    rarities: Sequence[Rarity],
    found: CellValues,
) -> None:
    """Write the product.

    Args:
        clip: as the detector takes them.
        members: their cards by their models' folders, in order.
        rarities: of the members.
        found: result of the stage ``maps``.

    Raises:
        OSError: the folder cannot be written.
    """

    def fused(some: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return combined(list(np.moveaxis(some, -3, 0)), rarities, recipe.combination)

    values = np.concatenate([picture_value(fused(part)) for part, _ in found.parts()]).astype(np.float64)
    rarity = fit_rarity(values[found.places.held_back], least_scale=_LEAST_SCALE)
    files.remove(folder / MEMBERS_FOLDER)  # of a process that was killed
    for model, card in members.items():
        _copy_model(model, folder / MEMBERS_FOLDER / card.family)
    write_learned(
        folder,
        FusedCard,
        footage,
        recipe,
        clip,
        Judged(found.places, rarity.scores(values), heat_of=lambda at: rarity.scores(fused(found.values[at]))),
        kernel=recipe.kernel,
        training={"members": {card.family: card.training for card in members.values()}},
        description=f"Things at the camera {footage.camera} that "
        f"{' and '.join(card.family for card in members.values())} together find unusual.",
        architecture=Architecture(
            members=tuple(member_of(card) for card in members.values()),
            combination=recipe.combination,
            levels=len(rarity.levels),
        ),
        weights_sha256=save_learned(rarity, folder),
        sees=[line for card in members.values() for line in card.sees],
        does_not_see=["incidents that no member sees: each member's card names those that it misses"],
    )


def _copy_model(model: Path, place: Path) -> None:
    """Copy the folder of a member's model. Raises OSError."""
    try:
        shutil.copytree(model, place, ignore=shutil.ignore_patterns(STAGE_FILE, MOMENTS_FILE))
    except shutil.Error as error:  # one for each file; the first is enough
        _, failed, reason = error.args[0][0]
        raise OSError(None, reason, failed) from None
