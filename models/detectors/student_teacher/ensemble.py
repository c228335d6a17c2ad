"""Teachers and their students as one network: from a picture to maps of how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.detectors.student_teacher.inputs import EVERY, normalised
from models.detectors.student_teacher.networks import Descriptors
from operators.motion import CELL

#: Outputs of :class:`Ensemble`, in order; the last one where students predict speeds.
OUTPUTS = ("ERRORS", "VARIANCES", "DESCRIBED", "SPEEDS")


class Scale(nn.Module):
    """A teacher of one receptive field, and its students.

    Args:
        speed: whether students have one value more, the speed of what moves around the pixel.

    Attributes:
        centre, spread: float32 (1, d, 1, 1), of the teacher's descriptors on normal footage.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, teacher: Descriptors, *, shrink: int, students: int, speed: bool) -> None:
        super().__init__()
        self.teacher = teacher
        self._students = nn.ModuleList(
            Descriptors(teacher.patch, shrink=shrink, values=teacher.values + speed) for _ in range(students)
        )
        self.speed = speed
        self.register_buffer("centre", torch.zeros(1, teacher.values, 1, 1))
        self.register_buffer("spread", torch.ones(1, teacher.values, 1, 1))

    @property
    def students(self) -> Sequence[Descriptors]:
        """Return the students."""
        return cast("Sequence[Descriptors]", self._students)

    def described(self, pictures: Tensor) -> Tensor:
        """Return the teacher's descriptors, normalised: float32 (N, 3, H, W) → (N, d, h, w)."""
        found: Tensor = (self.teacher(pictures, every=EVERY) - self.centre) / self.spread
        return found

    def predicted(self, pictures: Tensor) -> Tensor:
        """Return each student's values: float32 (N, 3, H, W) → (M, N, d, h, w), or d + 1 with the speed."""
        return torch.stack([student(pictures, every=EVERY) for student in self.students])


class Ensemble(nn.Module):
    """The networks of a detector.

    Args:
        patches: receptive fields, one :class:`Scale` each.
        shrink, values, students, speed: see :class:`models.detectors.student_teacher.card.Architecture`.
    """

    def __init__(self, patches: tuple[int, ...], *, shrink: int, values: int, students: int, speed: bool) -> None:
        super().__init__()
        self.speed = speed
        teachers = [Descriptors(patch, shrink=shrink, values=values) for patch in patches]
        scales = nn.ModuleList(Scale(one, shrink=shrink, students=students, speed=speed) for one in teachers)
        self._scales = scales.to(memory_format=torch.channels_last)  # a third faster on a CPU

    @property
    def scales(self) -> Sequence[Scale]:
        """Return the teacher and the students of each receptive field."""
        return cast("Sequence[Scale]", self._scales)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs, in order."""
        return OUTPUTS if self.speed else OUTPUTS[:-1]

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of pictures in cells of 8 pixels.

        Args:
            pictures: uint8 (N, H, W, 3) RGB, H and W multiples of 8.

        Returns:
            the regression error ‖mean of the students − teacher‖² and the predictive variance of the students, float32
            (N, S, H / 8, W / 8) for S receptive fields; the teachers' mean descriptors, (N, S · d); with speed its
            prediction, (N, H / 8, W / 8), the mean over students and receptive fields.
        """
        seen = normalised(pictures)
        errors, variances, described, speeds = [], [], [], []
        for scale in self.scales:
            wanted, predicted = scale.described(seen), scale.predicted(seen)
            regressed = predicted[:, :, : wanted.shape[1]]
            mean = regressed.mean(0)
            errors.append((mean - wanted).square().sum(1))
            # Mean of ‖student‖² − ‖mean of the students‖², without the difference of large numbers.
            variances.append((regressed - mean).square().sum(2).mean(0))
            described.append(wanted.mean((2, 3)))
            if self.speed:
                speeds.append(predicted[:, :, -1].mean(0))
        outputs = (_cells(torch.stack(errors, 1)), _cells(torch.stack(variances, 1)), torch.cat(described, 1))
        return (*outputs, _cells(torch.stack(speeds, 1)).mean(1)) if self.speed else outputs


def _cells(maps: Tensor) -> Tensor:
    """Return the means of cells: (N, S, h, w), a value every 4 pixels → (N, S, h / 2, w / 2)."""
    return F.avg_pool2d(maps, CELL // EVERY)
