"""A family that combines others: one map from those of detectors which see different things."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.fused.card import FusedCard
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.program import ServedProgram


def _load(card: FusedCard, folder: Path, progress: Progress) -> ServedProgram:
    """Raise CardError, TensorsError or WeightsError where it or a member cannot be loaded."""
    from models.detectors.fused.weights import load_program

    return load_program(card, folder, progress)


FAMILY = Family(
    name="fused",
    card=FusedCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    may_be_gated=True,
    training="models.detectors.fused.job:learn_fused",
    recipe="models.detectors.fused.recipe:FusedRecipe",
    heat=lambda _card: HeatKind.ANOMALY,
    load=_load,
    members=lambda card: [member.family for member in card.architecture.members],
)
