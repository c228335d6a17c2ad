"""Teachers that have learned nothing: small networks with drawn weights. Descriptors differ from place to place."""

from __future__ import annotations

from pathlib import Path

import torch

from models.detectors.student_teacher.teachers import TeacherCard, blank, save_teachers, write_teacher_card

PATCHES, SHRINK, VALUES = (17, 33), 16, 16


def write_teachers(folder: Path, *, patches: tuple[int, ...] = PATCHES, values: int = VALUES) -> Path:
    """Write teachers and their card into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teachers = blank(patches, shrink=SHRINK, values=values)
    card = TeacherCard(
        name="tiny",
        description="Teachers that have learned nothing.",
        patches=patches,
        shrink=SHRINK,
        values=values,
        weights_sha256=save_teachers(teachers, folder),
        training={},
        figures={},
    )
    write_teacher_card(card, folder)
    return folder
