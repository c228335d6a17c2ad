"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    student_teacher.safetensors   networks, what is normal for them, and the map from values to scores
    model-card.json               camera, footage, figures, suggested thresholds
    recipe.yaml                   the recipe
    moments.json                  the strangest moments, with their heat

Students learn from the footage that is not held back; all else is fitted to what is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from models.card import write_card
from models.data.normal_footage import NormalFootage
from models.detectors.student_teacher.card import Architecture, StudentTeacherCard
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.recipe import StudentTeacherRecipe, Uses
from models.detectors.student_teacher.stages.maps import ClipsFound
from models.detectors.student_teacher.strangeness import NormalMaps, fit_normal
from models.detectors.student_teacher.teachers import TeacherCard
from models.detectors.student_teacher.weights import save_learned
from models.jobs.rows import write_json
from models.jobs.thresholds import alerting_of_normal
from operators.motion import picture_value
from operators.rarity import Rarity, fit_rarity
from pipeline.printable import storable
from pipeline.windows import StoredClip

RECIPE_FILE, MOMENTS_FILE = "recipe.yaml", "moments.json"
#: Number of moments, and the least time between two of them, seconds.
MOMENTS, _APART_SECONDS = 12, 5.0
#: Clips whose maps are in memory at once.
_AT_ONCE = 500
#: Least scale of the tail of values, in spreads of the maps.
_LEAST_SCALE = 0.1

Values = npt.NDArray[np.float64]


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: StudentTeacherRecipe,
    teachers: TeacherCard,
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
        found.maps(np.flatnonzero(found.held_back)),
        error=recipe.uses is not Uses.VARIANCE,
        variance=recipe.uses is not Uses.ERROR,
    )
    values = np.concatenate(
        [
            picture_value(normal.strangeness(found.maps(slice(first, first + _AT_ONCE))))
            for first in range(0, len(found.film), _AT_ONCE)
        ]
    ).astype(np.float64)
    rarity = fit_rarity(values[found.held_back], least_scale=_LEAST_SCALE)
    scores = rarity.scores(values)
    alerting, reached = alerting_of_normal(_pieces(found, scores), recipe.kernel)
    (folder / RECIPE_FILE).write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    write_json(folder / MOMENTS_FILE, _moments(footage, found, normal, rarity, scores))
    clip = recipe.clip(footage)
    period = 1 / (clip.fps or 1)
    sees = ["things whose looks were not in the footage, wherever they are"]
    card = StudentTeacherCard(
        name=re.sub(r"[^A-Za-z0-9._-]", "_", footage.camera) + "-student_teacher",
        description=f"How far students of the camera {footage.camera} are from their teacher, compared with its normal "
        "footage.",
        camera=footage.camera,
        architecture=Architecture(
            patches=recipe.patches,
            shrink=teachers.shrink,
            values=teachers.values,
            students=recipe.students,
            speed=recipe.speed,
            levels=len(rarity.levels),
        ),
        weights_sha256=save_learned(ensemble, normal, rarity, folder),
        clip=StoredClip.from_spec(clip),
        alerting=alerting,
        training={
            "footage": footage.identity,
            "learned_seconds": round(footage.seconds * (1 - footage.hold_out), 1),
            "held_back_seconds": round(float(found.held_back.sum() * period), 1),
            "teachers": {"name": teachers.name, "weights_sha256": teachers.weights_sha256},
            "loss": loss,
        },
        figures={"held_back": {"clips": int(found.held_back.sum()), **reached}},
        sees=[*sees, "things that move faster than they look able to"] if recipe.speed else sees,
        does_not_see=["incidents of usual looks: a scuffle, a wrong direction", "what is smaller than a few cells"],
    )
    write_card(card, folder)


def _pieces(found: ClipsFound, scores: Values) -> Sequence[Values]:
    """Return the scores of the held-back clips, piece by piece and film by film."""
    of_clips = np.stack([found.film, found.piece])
    borders = np.flatnonzero((np.diff(of_clips) != 0).any(axis=0)) + 1
    held = np.split(found.held_back, borders)
    return [part for part, is_held in zip(np.split(scores, borders), held, strict=True) if is_held[0]]


def _moments(
    footage: NormalFootage, found: ClipsFound, normal: NormalMaps, rarity: Rarity, scores: Values
) -> list[dict[str, Any]]:
    """Return the clips with the highest scores, the strangest first, none close to another one."""
    chosen: list[int] = []
    for ordinal in np.argsort(-scores, kind="stable"):
        if all(abs(found.start[ordinal] - found.start[other]) >= _APART_SECONDS for other in chosen):
            chosen.append(int(ordinal))
        if len(chosen) == MOMENTS:
            break
    heats = rarity.scores(normal.strangeness(found.maps(np.array(chosen)))).round(3)
    return [
        {
            "film": storable(str(footage.films[found.film[at]].path)),
            "seconds": float((found.start[at] + found.end[at]) / 2 - footage.films[found.film[at]].start),
            "start": float(found.start[at]),
            "end": float(found.end[at]),
            "score": round(float(scores[at]), 4),
            "held_back": bool(found.held_back[at]),
            "heat": heat.tolist(),
        }
        for at, heat in zip(chosen, heats, strict=True)
    ]
