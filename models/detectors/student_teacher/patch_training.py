"""Training of teachers on patches of still pictures, as in the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from models.detectors.student_teacher.inputs import normalised
from models.detectors.student_teacher.losses import weighted_sum
from models.detectors.student_teacher.networks import Descriptors
from models.detectors.student_teacher.patches import Picture, draw_pair
from models.detectors.student_teacher.teacher_recipe import PatchChoice, TeacherRecipe
from models.detectors.student_teacher.teachers import blank
from models.jobs.steps import run_steps

Published = Callable[[Tensor], Tensor]  #: uint8 (N, p, p, 3) → float32 (N, C)


def train_on_patches(
    pictures: Sequence[Path],
    choice: PatchChoice,
    published: Published,
    values: int,
    recipe: TeacherRecipe,
    seed: int,
    file: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[nn.ModuleDict, float]:
    """Train a teacher for each receptive field, each on patches of its own.

    Args:
        published: the published network, for patches.
        values: of its vectors, C.
        file: the checkpoint.
        progress: called with the number of steps that are done.

    Returns:
        The teachers, and the loss at the end, the sum over them.

    Raises:
        TrainingError: a file is not a picture, a loss is not finite, or the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        teachers = blank(recipe.patches, shrink=recipe.shrink, values=recipe.values)
        decoders = nn.ModuleDict({name: nn.Linear(recipe.values, values) for name in teachers})

    def loss_at(step: int) -> Tensor:
        random = np.random.default_rng([seed, step])
        found = []
        for name, teacher in cast("Mapping[str, Descriptors]", teachers).items():
            chosen = [pictures[at] for at in random.integers(len(pictures), size=recipe.batch)]
            pairs = [draw_pair(one, teacher.patch, choice, random) for one in chosen]
            anchors = _stacked([pair.anchor for pair in pairs])
            described = teacher.of_patches(normalised(anchors))
            positives = _stacked([pair.positive for pair in pairs])
            found.append(
                weighted_sum(
                    recipe.losses,
                    decoders[name](described),
                    published(anchors),
                    described,
                    partial(_views, teacher, positives, described),
                )
            )
        return torch.stack(found).sum()

    trained = nn.ModuleList([teachers, decoders])
    return teachers, run_steps(
        trained,
        loss_at,
        file,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        falls=recipe.falls,
        progress=progress,
    )


def _views(teacher: Descriptors, positives: Tensor, described: Tensor) -> tuple[Tensor, Tensor]:
    """Return the descriptors of the positives, and those of other pictures."""
    return teacher.of_patches(normalised(positives)), described.roll(1, 0)


def _stacked(patches: Sequence[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(patches))
