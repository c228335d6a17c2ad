"""Training of students on one camera's normal pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.data.npy_rows import Rows
from models.detectors.student_teacher.ensemble import Ensemble
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.jobs.steps import run_steps

Describe = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

#: Pictures from which the centre and the spread of the teachers' descriptors are taken.
_SURVEYED = 32
#: Weight of the speed beside the sum over all values of a descriptor. Not tuned.
_SPEED_WEIGHT = 10.0
_LEAST_SPREAD = 1e-3


def train_students(
    ensemble: Ensemble,
    describe: Describe,
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
        ensemble: its students get new weights.
        describe: returns the teachers' descriptors of pictures, (N, H, W, 3) → (N, teachers · d, h, w).
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
    surveyed = np.linspace(0, len(pictures) - 1, min(_SURVEYED, len(pictures))).astype(int)
    _survey(ensemble, describe, pictures, surveyed)
    usual = (
        1.0 if speeds is None else max(float(np.sqrt(np.square(np.asarray(speeds[surveyed])).mean())), _LEAST_SPREAD)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for scale in ensemble.scales:
            for student in scale:
                student.forget()

    def loss_at(step: int) -> Tensor:
        chosen = int(np.random.default_rng([seed, step]).integers(len(pictures)))
        picture = np.asarray(pictures[chosen : chosen + 1])
        described = ensemble.normalised(torch.from_numpy(describe(picture)))
        losses = []
        for wanted, predicted in ensemble.compared(torch.from_numpy(picture), described):
            losses.append((predicted[:, :, : wanted.shape[1]] - wanted).square().sum(2).mean())
            if speeds is not None:
                speed = ensemble.in_cells(predicted[:, 0, -1:])[:, 0]
                missed = speed - torch.from_numpy(np.asarray(speeds[chosen]))
                losses.append(_SPEED_WEIGHT * (missed / usual).square().mean())
        return torch.stack(losses).sum()

    return run_steps(
        ensemble,
        loss_at,
        file,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        progress=progress,
    )


def _survey(ensemble: Ensemble, describe: Describe, pictures: Rows, surveyed: npt.NDArray[np.int64]) -> None:
    """Set the centre and spread of the teachers' descriptors, value by value, over some pictures."""
    found = torch.from_numpy(np.concatenate([describe(np.asarray(pictures[at : at + 1])) for at in surveyed]))
    ensemble.centre.copy_(found.mean((0, 2, 3), keepdim=True))
    ensemble.spread.copy_(found.std((0, 2, 3), keepdim=True).clamp_min(_LEAST_SPREAD))
