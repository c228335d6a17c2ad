"""The memory bank as a family of detectors: how patches look, compared with those of one camera's normal footage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.memory_bank.card import MemoryBankCard
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.program import ServedProgram


def _load(card: MemoryBankCard, folder: Path, progress: Progress) -> ServedProgram:
    """Raise CardError, TensorsError or WeightsError where it cannot be loaded."""
    from models.backbones import weights
    from models.detectors.memory_bank.weights import check_backbone, load_program

    check_backbone(card, folder)
    weights.fetch_with_progress(card.backbone.name, progress)
    return load_program(card, folder)


FAMILY = Family(
    name="memory_bank",
    card=MemoryBankCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    may_be_gated=True,
    training="models.detectors.memory_bank.job:learn_memory_bank",
    recipe="models.detectors.memory_bank.recipe:MemoryBankRecipe",
    pictures=("height=256", "kernel=1"),
    heat=lambda _card: HeatKind.ANOMALY,
    load=_load,
)
