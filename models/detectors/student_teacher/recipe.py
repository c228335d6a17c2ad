"""The settings with which a student–teacher detector is learned."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from models.data.camera_clips import clip_of_camera
from models.data.normal_footage import NormalFootage
from models.detectors.student_teacher.card import Patch
from operators.motion import CELL
from pipeline.windows import ClipSpec


class Uses(StrEnum):
    """The maps that are summed."""

    BOTH = "both"  #: regression error and predictive variance, the paper's
    ERROR = "error"
    VARIANCE = "variance"


class Normal(StrEnum):
    """The pictures' places that are normalised together."""

    PLACE = "place"  #: each place alone, for a camera that stands still
    PICTURE = "picture"  #: all of them, as in the paper


class Teachers(StrEnum):
    """The teachers that have a name."""

    BACKBONE = "efficientnet-lite0"  #: that network itself
    SLIM = "slim"  #: those that come with mistwatch, of the paper's form


class StudentTeacherRecipe(BaseModel):
    """The recipe.

    Attributes:
        teachers: a name, or the folder of trained teachers.
        patches: receptive fields p of the students, pixels, whose maps are averaged.
        students: number of students for each, M. The variance of a single one is 0; the paper has 3.
        uses: the maps that are summed.
        normal: the places that are normalised together.
        speed: whether students also predict from the still picture how fast things move there. Beyond the paper.
        gap: frames between the two pictures of a flow, with ``speed``.
        height: of the pictures, pixels; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows.
        kernel: of the causal moving average, clips.
        pictures: at most so many are learned from.
        steps: of the students' training, one picture each.
        learning_rate: of Adam at the first step; it falls to 0 evenly. The paper has 1e-4 throughout, for 100 epochs.
            With 150 steps on Ped2's normal videos, the loss came down to 24.7 at 1e-3, 12.3 at 3e-3 and 10.2 at 8e-3
            (measured once, by hand). The default lies between the last two and was not measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teachers: Teachers | Path = Teachers.BACKBONE
    patches: tuple[Patch, ...] = Field((33,), min_length=1)
    students: PositiveInt = 1
    uses: Uses = Uses.BOTH
    normal: Normal = Normal.PLACE
    speed: bool = False
    gap: PositiveInt = 2
    height: int = Field(240, ge=8 * CELL, multiple_of=CELL)
    least_fps: PositiveFloat = 10.0
    kernel: PositiveInt = 3
    pictures: PositiveInt = 800
    steps: PositiveInt = 600
    learning_rate: PositiveFloat = 5e-3
    weight_decay: float = Field(1e-5, ge=0)

    @model_validator(mode="after")
    def _varying(self) -> StudentTeacherRecipe:
        if self.uses is Uses.VARIANCE and self.students == 1:
            raise ValueError("uses: the variance of one student is always 0; expected students of 2 or more")
        return self

    @property
    def cell(self) -> int:
        """Side of a cell of the map, pixels."""
        return CELL

    def clip(self, footage: NormalFootage) -> ClipSpec:
        """Return clips of the camera: one picture, or two with the gap between them where speed is predicted.

        Raises:
            FootageError: see :func:`models.data.camera_clips.clip_of_camera`.
        """
        return clip_of_camera(
            footage,
            frames=self.gap + 1 if self.speed else 1,
            height=self.height,
            cell=self.cell,
            least_cells=math.ceil(max(self.patches) / CELL),
            least_fps=self.least_fps,
        )
