"""The stage ``product``: what was learned, as a model that is served, and the strangest moments of the footage.

    motion.safetensors     statistics of the rows, and the map from values to scores
    model-card.json        camera, footage, figures, suggested thresholds
    recipe.yaml            the recipe
    moments.json           the strangest moments of all footage, with their heat

The rows' statistics come from the footage that is learned from. The map and the thresholds come from what is held back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from models.card import write_card
from models.data.normal_footage import NormalFootage
from models.detectors.motion.card import Architecture, MotionCard
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.scale import fit_scale
from models.detectors.motion.stages.speeds import ClipSpeeds
from models.detectors.motion.weights import save_learned
from models.jobs.rows import write_json
from models.jobs.thresholds import alerting_of_normal
from operators.motion import RowStatistics, SpeedHistogram, picture_value
from operators.rarity import Rarity
from pipeline.names import ascii_name
from pipeline.printable import storable
from pipeline.windows import ClipSpec, StoredClip

RECIPE_FILE, MOMENTS_FILE = "recipe.yaml", "moments.json"

#: Number of moments, and the least time between two of them, seconds.
MOMENTS, _APART_SECONDS = 12, 5.0
#: Clips that are read at once: 5 MB.
_AT_ONCE = 1000

Values = npt.NDArray[np.float64]


def compute(
    folder: Path, footage: NormalFootage, recipe: MotionRecipe, clip: ClipSpec, chosen: Any, found: ClipSpeeds
) -> None:
    """Write the product.

    Args:
        clip: as the detector takes them.
        chosen: result of the stage ``gap``.
        found: of all footage.

    Raises:
        SourceError: a film cannot be read.
        OSError: the folder cannot be written.
    """
    rows = _statistics(found)
    values = np.concatenate([picture_value(rows.deviations(part)) for part in _parts(found)]).astype(np.float64)
    rarity = fit_scale(values[found.held_back])
    scores = rarity.scores(values)
    alerting, reached = alerting_of_normal(_pieces(found, scores), recipe.kernel)
    (folder / RECIPE_FILE).write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    write_json(folder / MOMENTS_FILE, _moments(footage, found, rows, rarity, scores))
    period = 1 / (clip.fps or 1)
    card = MotionCard(
        name=ascii_name(footage.camera) + "-motion",
        description=f"How fast things move at the camera {footage.camera}, compared with its normal footage.",
        camera=footage.camera,
        architecture=Architecture(rows=len(rows.centre), levels=len(rarity.levels)),
        weights_sha256=save_learned(rows, rarity, folder),
        clip=StoredClip.from_spec(clip),
        alerting=alerting,
        training={
            "footage": footage.identity,
            "learned_seconds": round(float((~found.held_back).sum() * period), 1),
            "held_back_seconds": round(float(found.held_back.sum() * period), 1),
            "gap": chosen,
        },
        figures={"held_back": {"clips": int(found.held_back.sum()), **reached}},
        sees=["things that move faster than others do at the same height of the picture"],
        does_not_see=["slow incidents: a scuffle, a fall", "things that lie still", "the unusual at a usual speed"],
    )
    write_card(card, folder)


def _statistics(found: ClipSpeeds) -> RowStatistics:
    histogram = SpeedHistogram(found.speeds.shape[1])
    for first, part in zip(range(0, len(found.speeds), _AT_ONCE), _parts(found), strict=True):
        histogram.add(part[~found.held_back[first : first + _AT_ONCE]])
    return histogram.statistics()


def _parts(found: ClipSpeeds) -> Iterator[npt.NDArray[np.float32]]:
    for first in range(0, len(found.speeds), _AT_ONCE):
        yield found.speeds[first : first + _AT_ONCE]


def _pieces(found: ClipSpeeds, scores: Values) -> Sequence[Values]:
    """Return the scores of the held-back clips, by unbroken runs."""
    borders = np.flatnonzero(np.diff(found.run)) + 1
    held = np.split(found.held_back, borders)
    return [part for part, is_held in zip(np.split(scores, borders), held, strict=True) if is_held[0]]


def _moments(
    footage: NormalFootage, found: ClipSpeeds, rows: RowStatistics, rarity: Rarity, scores: Values
) -> list[dict[str, Any]]:
    """Return the clips with the highest scores, the strangest first, none close to another one."""
    chosen: list[int] = []
    for ordinal in np.argsort(-scores, kind="stable"):
        if all(abs(found.start[ordinal] - found.start[other]) >= _APART_SECONDS for other in chosen):
            chosen.append(int(ordinal))
        if len(chosen) == MOMENTS:
            break
    return [
        {
            "film": storable(str(footage.films[found.film[at]].path)),
            "seconds": footage.films[found.film[at]].since_start(float(found.start[at] + found.end[at]) / 2),
            "start": float(found.start[at]),
            "end": float(found.end[at]),
            "score": round(float(scores[at]), 4),
            "held_back": bool(found.held_back[at]),
            "heat": rarity.scores(rows.deviations(found.speeds[at])).round(3).tolist(),
        }
        for at in chosen
    ]
