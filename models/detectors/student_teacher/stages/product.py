"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    student_teacher.safetensors   networks, what is normal for them, and the map from values to scores

and the files of :mod:`models.jobs.learning`. Students learn from the footage that is not held back; all else is fitted
to what is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.normal_footage import NormalFootage
from models.detectors.student_teacher.card import Architecture, StudentTeacherCard
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.recipe import Normal, StudentTeacherRecipe, Uses
from models.detectors.student_teacher.stages.maps import ClipsFound
from models.detectors.student_teacher.strangeness import fit_normal
from models.detectors.student_teacher.teacher import Teacher
from models.detectors.student_teacher.weights import save_learned
from models.jobs.learning import Judged, write_learned
from operators.cells import picture_value
from operators.rarity import fit_rarity

#: Clips whose maps are in memory at once.
_AT_ONCE = 500
#: Least scale of the tail of values, in spreads of the maps.
_LEAST_SCALE = 0.1


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: StudentTeacherRecipe,
    teacher: Teacher,
    trained: tuple[Ensemble, float],
    found: ClipsFound,
) -> None:
    """Write the product.

    Args:
        trained: result of the stage ``students``.
        found: result of the stage ``maps``.

    Raises:
        OSError: the folder cannot be written.
    """
    ensemble, loss = trained
    normal = fit_normal(
        found.maps(np.flatnonzero(found.places.held_back)),
        found.maps(np.flatnonzero(~found.places.held_back)) if recipe.normal is Normal.PLACE else None,
        error=recipe.uses is not Uses.VARIANCE,
        variance=recipe.uses is not Uses.ERROR,
    )
    parts = [
        picture_value(normal.strangeness(found.maps(slice(first, first + _AT_ONCE))))
        for first in range(0, len(found.places), _AT_ONCE)
    ]
    values = np.concatenate(parts).astype(np.float64)
    rarity = fit_rarity(values[found.places.held_back], least_scale=_LEAST_SCALE)
    sees = ["things whose looks were not in the footage, wherever they are"]
    write_learned(
        folder,
        StudentTeacherCard,
        footage,
        recipe,
        recipe.clip(footage),
        Judged(
            found.places,
            rarity.scores(values),
            heat_of=lambda at: rarity.scores(normal.strangeness(found.maps(np.array([at])))[0]),
        ),
        kernel=recipe.kernel,
        training={
            "teachers": dict(teacher.about),
            "loss": loss,
        },
        description=f"How far students of the camera {footage.camera} are from their teacher, compared with its normal "
        "footage.",
        architecture=Architecture(
            patches=recipe.patches,
            shrink=teacher.shrink,
            values=teacher.values,
            students=recipe.students,
            speed=recipe.speed,
            places=(normal.centre.shape[2], normal.centre.shape[3]),
            levels=len(rarity.levels),
        ),
        backbone=teacher.backbone,
        weights_sha256=save_learned(teacher, ensemble, normal, rarity, folder),
        sees=[*sees, "things that move faster than they look able to"] if recipe.speed else sees,
        does_not_see=["incidents of usual looks: a scuffle, a wrong direction", "what is smaller than a few cells"],
    )
