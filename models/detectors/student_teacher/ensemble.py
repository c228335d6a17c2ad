"""Students as one network: from a picture and its descriptors to maps of how far they disagree with their teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.detectors.student_teacher.inputs import Grid, normalised
from models.detectors.student_teacher.networks import Descriptors
from operators.motion import CELL

#: Outputs of :class:`Ensemble`, in order; the last one where students predict speeds.
OUTPUTS = ("ERRORS", "VARIANCES", "DESCRIBED", "SPEEDS")


class Ensemble(nn.Module):
    """The students of each receptive field.

    Args:
        patches: receptive fields, pixels.
        shrink, values, students: see :class:`models.detectors.student_teacher.card.Architecture`.
        teachers: number of teachers side by side: one for each receptive field, or 1 for all of them.
        grid: places of the descriptors.
        speed: whether students have one value more, the speed of what moves around the place.

    Attributes:
        centre, spread: float32 (1, teachers · d, 1, 1), of the descriptors of normal footage.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        patches: tuple[int, ...],
        *,
        shrink: int,
        values: int,
        students: int,
        teachers: int,
        grid: Grid,
        speed: bool,
    ) -> None:
        super().__init__()
        self.values, self.grid, self.speed = values, grid, speed
        scales = nn.ModuleList(
            nn.ModuleList(Descriptors(patch, shrink=shrink, values=values + speed) for _ in range(students))
            for patch in patches
        )
        self._scales = scales.to(memory_format=torch.channels_last)  # a third faster on a CPU
        self.register_buffer("centre", torch.zeros(1, teachers * values, 1, 1))
        self.register_buffer("spread", torch.ones(1, teachers * values, 1, 1))

    @property
    def scales(self) -> Sequence[Sequence[Descriptors]]:
        """Return the students of each receptive field."""
        return cast("Sequence[Sequence[Descriptors]]", self._scales)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs, in order."""
        return OUTPUTS if self.speed else OUTPUTS[:-1]

    def normalised(self, descriptors: Tensor) -> Tensor:
        """Return the teachers' descriptors, value by value in spreads from the centre: (N, teachers · d, h, w)."""
        return (descriptors - self.centre) / self.spread

    def compared(self, pictures: Tensor, descriptors: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return what is wanted and what each student gives, for each receptive field.

        Args:
            pictures: see :meth:`forward`.
            descriptors: of the teachers, :meth:`normalised`.

        Returns:
            float32 (N, d, h, w), and (M, N, d, h, w), or d + 1 with the speed.
        """
        seen = normalised(pictures).contiguous(memory_format=torch.channels_last)
        wanted = torch.split(descriptors, self.values, 1)
        return [
            (wanted[ordinal % len(wanted)], torch.stack([student(seen, **self.grid._asdict()) for student in scale]))
            for ordinal, scale in enumerate(self.scales)
        ]

    def forward(self, pictures: Tensor, descriptors: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of pictures in cells of 8 pixels.

        Args:
            pictures: uint8 (N, H, W, 3) RGB, H and W multiples of 8.
            descriptors: of the teachers, float32 (N, teachers · d, h, w).

        Returns:
            the regression error ‖mean of the students − teacher‖² and the predictive variance of the students, float32
            (N, S, H / 8, W / 8) for S receptive fields; the mean of the normalised descriptors, (N, teachers · d); with
            speed its prediction, (N, H / 8, W / 8), the mean over students and receptive fields.
        """
        described = self.normalised(descriptors)
        errors, variances, speeds = [], [], []
        for wanted, predicted in self.compared(pictures, described):
            regressed = predicted[:, :, : self.values]
            mean = regressed.mean(0)
            errors.append((mean - wanted).square().sum(1))
            # Mean of ‖student‖² − ‖mean of the students‖², without the difference of large numbers.
            variances.append((regressed - mean).square().sum(2).mean(0))
            if self.speed:
                speeds.append(predicted[:, :, -1].mean(0))
        maps = self.in_cells(torch.stack(errors, 1)), self.in_cells(torch.stack(variances, 1))
        outputs = *maps, described.mean((2, 3))
        return (*outputs, self.in_cells(torch.stack(speeds, 1)).mean(1)) if self.speed else outputs

    def in_cells(self, maps: Tensor) -> Tensor:
        """Return the means of cells: (N, S, h, w) → (N, S, H / 8, W / 8)."""
        return F.avg_pool2d(maps, CELL // self.grid.every)
