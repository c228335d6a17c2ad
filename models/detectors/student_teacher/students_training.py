"""Training of students on one camera's normal pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.data.npy_rows import Rows
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.inputs import EVERY, normalised
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.steps import run_steps
from operators.motion import CELL

#: Pictures from which the centre and the spread of the teachers' descriptors are taken.
_SURVEYED = 32
#: Weight of the speed beside the sum over all values of a descriptor. Not tuned.
_SPEED_WEIGHT = 10.0
_LEAST_SPREAD = 1e-3


def train_students(
    ensemble: Ensemble,
    pictures: Rows,
    speeds: Rows | None,
    recipe: StudentTeacherRecipe,
    seed: int,
    file: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Train the students of an ensemble, and set the centre and spread of its teachers' descriptors.

    A step is one whole picture. All students see the same ones; they differ by their first weights.

    Args:
        ensemble: its teachers are trained, and not changed. Its students get new weights.
        pictures: uint8 (n, H, W, 3) RGB.
        speeds: of their cells, float32 (n, H / 8, W / 8), for an ensemble that predicts them.
        file: the checkpoint.
        progress: called with the number of steps that are done.

    Returns:
        the loss at the end, the sum over receptive fields, the mean over students.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    for scale in ensemble.scales:
        scale.teacher.requires_grad_(False)
    surveyed = np.linspace(0, len(pictures) - 1, min(_SURVEYED, len(pictures))).astype(int)
    _survey(ensemble, pictures, surveyed)
    usual = (
        1.0 if speeds is None else max(float(np.sqrt(np.square(np.asarray(speeds[surveyed])).mean())), _LEAST_SPREAD)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for scale in ensemble.scales:
            for student in scale.students:
                student.forget()

    def loss_at(step: int) -> Tensor:
        chosen = int(np.random.default_rng([seed, step]).integers(len(pictures)))
        seen = _seen(pictures, chosen)
        losses = []
        for scale in ensemble.scales:
            with torch.no_grad():
                wanted = scale.described(seen)
            predicted = scale.predicted(seen)
            losses.append((predicted[:, :, : wanted.shape[1]] - wanted).square().sum(2).mean())
            if speeds is not None:
                speed = F.avg_pool2d(predicted[:, 0, -1:], CELL // EVERY)[:, 0]
                missed = speed - torch.from_numpy(np.asarray(speeds[chosen]))
                losses.append(_SPEED_WEIGHT * (missed / usual).square().mean())
        return torch.stack(losses).sum()

    students = torch.nn.ModuleList(student for scale in ensemble.scales for student in scale.students)
    return run_steps(
        students,
        loss_at,
        file,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        progress=progress,
    )


@torch.no_grad()
def _survey(ensemble: Ensemble, pictures: Rows, surveyed: npt.NDArray[np.int64]) -> None:
    """Set the centre and spread of each teacher's descriptors, value by value, over some pictures."""
    for scale in ensemble.scales:
        found = torch.cat([scale.teacher(_seen(pictures, int(at)), every=EVERY) for at in surveyed])
        scale.centre.copy_(found.mean((0, 2, 3), keepdim=True))
        scale.spread.copy_(found.std((0, 2, 3), keepdim=True).clamp_min(_LEAST_SPREAD))


def _seen(pictures: Rows, at: int) -> Tensor:
    """Return one picture as the networks see it, (1, 3, H, W)."""
    picture = torch.from_numpy(np.asarray(pictures[at]))[None]
    return normalised(picture).contiguous(memory_format=torch.channels_last)
