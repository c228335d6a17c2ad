"""Training of teachers on crops: distillation from a published network, triplets, compactness."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.data.npy_rows import Rows
from models.detectors.student_teacher.inputs import EVERY, normalised
from models.detectors.student_teacher.losses import weighted_sum
from models.detectors.student_teacher.teacher_recipe import TeacherRecipe
from models.detectors.student_teacher.teachers import blank
from models.jobs.steps import run_steps

#: Crops from which the centre and the spread of the published vectors are taken.
_SURVEYED = 64
#: A crop seen otherwise, for triplets: its brightness changes by up to this factor, and noise of this spread is added
#: (the paper's 0.1 of pictures in 0 to 1; ours lie in −1 to 1).
_BRIGHTNESS, _NOISE = 0.2, 0.2


def train_teachers(
    crops: Rows,
    vectors: Rows,
    recipe: TeacherRecipe,
    seed: int,
    file: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[nn.ModuleDict, float]:
    """Train a teacher for each receptive field, all on the same crops.

    Args:
        crops: uint8 (n, S, S, 3) RGB. The published network saw them as they are, the teachers see them at half their
            size.
        vectors: the published network's, (n, C, S / 8, S / 8).
        file: the checkpoint.
        progress: called with the number of steps that are done.

    Returns:
        The teachers, and the loss at the end, the sum over them.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        teachers = blank(recipe.patches, shrink=recipe.shrink, values=recipe.values)
    # Once: the same for every step, and for a resumed training.
    found = _chosen(vectors, np.random.default_rng([seed]).integers(len(vectors), size=_SURVEYED)).float()
    centre, spread = found.mean((0, 2, 3), keepdim=True), found.std((0, 2, 3), keepdim=True) + 1e-6
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoders = nn.ModuleDict({name: nn.Linear(recipe.values, found.shape[1]) for name in teachers})

    def loss_at(step: int) -> Tensor:
        random = np.random.default_rng([seed, step])
        chosen = random.integers(len(crops), size=recipe.batch)
        wanted = _rows((_chosen(vectors, chosen).float() - centre) / spread)
        pictures = F.avg_pool2d(normalised(_chosen(crops, chosen)), 2).contiguous(memory_format=torch.channels_last)
        losses = []
        for name, teacher in teachers.items():
            maps = teacher(pictures, every=EVERY)
            losses.append(
                weighted_sum(
                    recipe.losses,
                    decoders[name](_rows(maps)),
                    wanted,
                    _rows(maps),
                    partial(_views, teacher, pictures, maps, random),
                )
            )
        return torch.stack(losses).sum()

    loss = run_steps(
        nn.ModuleList([teachers, decoders]),
        loss_at,
        file,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        falls=recipe.falls,
        progress=progress,
    )
    return teachers, loss


def _chosen(rows: Rows, ordinals: npt.NDArray[np.int64]) -> Tensor:
    """Return some rows."""
    return torch.from_numpy(np.asarray(rows[ordinals]))


def _rows(maps: Tensor) -> Tensor:
    """Return the values of each place of maps: (N, C, h, w) → (N · h · w, C)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _views(teacher: nn.Module, pictures: Tensor, maps: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the descriptors of the pictures seen otherwise, and those of other pictures."""
    return _rows(teacher(_seen_otherwise(pictures, random), every=EVERY)), _rows(maps.roll(1, 0))


def _seen_otherwise(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Return pictures with another brightness, and noise."""
    factor = 1 + _BRIGHTNESS * float(random.uniform(-1, 1))
    noise = random.standard_normal(tuple(pictures.shape), dtype=np.float32)
    return factor * pictures + _NOISE * torch.from_numpy(noise)
