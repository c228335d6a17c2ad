"""Motion as a family of detectors: how fast things move, compared with one camera's normal footage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.motion.card import MotionCard
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.program import ServedProgram


def _load(card: MotionCard, folder: Path, _progress: Progress) -> ServedProgram:
    """Raise TensorsError where it cannot be loaded."""
    from models.detectors.motion.weights import load_program

    return load_program(card, folder)


FAMILY = Family(
    name="motion",
    card=MotionCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    may_be_gated=True,
    training="models.detectors.motion.job:learn_motion",
    heat=lambda _card: HeatKind.ANOMALY,
    load=_load,
    recipe="models.detectors.motion.recipe:MotionRecipe",
)
