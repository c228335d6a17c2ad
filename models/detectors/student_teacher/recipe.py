"""The settings with which a student–teacher detector is learned."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from models.data.normal_footage import FootageError, NormalFootage
from operators.motion import CELL
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec


class Uses(StrEnum):
    """The maps that are summed."""

    BOTH = "both"  #: regression error and predictive variance, the paper's
    ERROR = "error"
    VARIANCE = "variance"


class StudentTeacherRecipe(BaseModel):
    """The recipe.

    Attributes:
        teachers: folder of trained teachers; None for those that come with mistwatch.
        patches: receptive fields p, pixels, whose maps are averaged.
        students: number of students for each, M.
        uses: the maps that are summed.
        speed: whether students also predict from the still picture how fast things move there. Beyond the paper.
        gap: frames between the two pictures of a flow, with ``speed``.
        height: of the pictures, pixels; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows.
        kernel: of the causal moving average, clips.
        pictures: at most so many are learned from.
        steps: of the students' training, one picture each.
        learning_rate: of Adam at the first step; it falls to 0 evenly (the paper: 1e-4 throughout, for 100 epochs).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teachers: Path | None = None
    patches: tuple[int, ...] = Field((33,), min_length=1)
    students: PositiveInt = 3
    uses: Uses = Uses.BOTH
    speed: bool = False
    gap: PositiveInt = 2
    height: int = Field(240, ge=8 * CELL, multiple_of=CELL)
    least_fps: PositiveFloat = 10.0
    kernel: PositiveInt = 3
    pictures: PositiveInt = 800
    steps: PositiveInt = 600
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(1e-5, ge=0)

    def clip(self, footage: NormalFootage, *, stride: int = 1) -> ClipSpec:
        """Return clips of the camera: one picture, or two with the gap between them where speed is predicted.

        Raises:
            FootageError: the pictures are too small for the receptive fields.
        """
        film = min(footage.films, key=lambda film: film.rate)
        # A little is added, as the rate of a camera of 30 pictures a second may be measured as 29.99.
        every = max(1, int(film.rate / self.least_fps + 0.01))
        height = min(self.height, film.height // CELL * CELL)
        width = max(CELL, round(height * film.width / film.height / CELL) * CELL)
        if min(height, width) < max(self.patches):
            raise FootageError(
                f"{film.path}: pictures of {film.width}×{film.height}, of which {width}×{height} would be compared; "
                f"expected at least {max(self.patches)} a side, the largest receptive field; use footage of larger "
                "pictures, or smaller patches"
            )
        frames = self.gap + 1 if self.speed else 1
        return ClipSpec(frames, stride, height, width, Fit.STRETCH, round(film.rate / every, 3))
