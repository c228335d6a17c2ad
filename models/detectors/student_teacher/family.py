"""Student–teacher detection as a family: how far students are from their teacher on pictures they have not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress
from models.detectors.student_teacher.card import StudentTeacherCard
from operators.heat_kind import HeatKind

if TYPE_CHECKING:
    from models.detectors.program import ServedProgram


def _load(card: StudentTeacherCard, folder: Path, progress: Progress) -> ServedProgram:
    """Raise CardError, TensorsError or WeightsError where it cannot be loaded."""
    from models.backbones import weights
    from models.detectors.student_teacher.weights import check_backbone, load_program

    check_backbone(card, folder)
    if card.backbone is not None:
        weights.fetch_with_progress(card.backbone.name, progress)
    return load_program(card, folder)


FAMILY = Family(
    name="student_teacher",
    card=StudentTeacherCard,
    learns_from=LearnsFrom.NORMAL_FOOTAGE,
    belongs_to=BelongsTo.CAMERA,
    may_be_gated=True,
    training="models.detectors.student_teacher.job:learn_student_teacher",
    heat=lambda _card: HeatKind.ANOMALY,
    load=_load,
    recipe="models.detectors.student_teacher.recipe:StudentTeacherRecipe",
    pictures=("height=256", "kernel=1", "normal=picture"),
)
