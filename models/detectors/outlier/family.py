"""The classical outlier detectors as a family: local outlier factor, isolation forest and one-class SVM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.outlier.card import OutlierCard
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.program import ServedProgram


def _load(card: OutlierCard, folder: Path, progress: Progress) -> ServedProgram:
    """Raise CardError, TensorsError or WeightsError where it cannot be loaded."""
    from models.backbones import weights
    from models.detectors.outlier.weights import check_backbone, load_program

    check_backbone(card, folder)
    weights.fetch_with_progress(card.backbone.name, progress)
    return load_program(card, folder)


def _heat(card: OutlierCard) -> HeatKind | None:
    """Return the meaning of the map of places; pooled features have no map."""
    return HeatKind.ANOMALY if card.architecture.features == "places" else None


FAMILY = Family(
    name="outlier",
    card=OutlierCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    may_be_gated=True,
    training="models.detectors.outlier.job:learn_outlier",
    recipe="models.detectors.outlier.recipe:OutlierRecipe",
    pictures=("height=256", "kernel=1"),
    heat=_heat,
    load=_load,
)
