"""The settings with which teachers are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

from models.card import ModelName
from models.detectors.student_teacher.losses import Compactness
from models.detectors.student_teacher.networks import LAYERS


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CropChoice(_Part):
    """The crops of films on which teachers are trained.

    Attributes:
        films: films and folders of films; relative to the current folder.
        obtain: how to get them, for people who do not have them.
        fps: pictures a second that are taken from them.
        height, width: of these pictures, pixels, cut to that form.
        of_each: crops of each picture.
        least_side: of a square crop, pixels; its side is drawn between that and the picture's height.
    """

    films: tuple[Path, ...] = Field(min_length=1)
    obtain: str = ""
    fps: PositiveFloat = 0.5
    height: int = Field(360, ge=128)
    width: int = Field(480, ge=128)
    of_each: PositiveInt = 2
    least_side: int = Field(112, ge=64)


class LossWeights(_Part):
    """λk, λm and λc, the form of the last one, and the margin δ of the triplets."""

    distillation: float = Field(1.0, ge=0)
    triplets: float = Field(0.0, ge=0)
    compactness: float = Field(1.0, ge=0)
    compactness_form: Compactness = Compactness.SUM
    margin: PositiveFloat = 1.0


class TeacherRecipe(_Part):
    """The recipe: one teacher for each receptive field, all on the same crops.

    Attributes:
        patches: receptive fields p, pixels.
        shrink: number by which the paper's channels are divided.
        values: of a descriptor, d.
        batch: crops of a step. Each gives 1,024 descriptors.
        learning_rate: of Adam at the first step; it falls to 0 evenly.
    """

    name: ModelName
    description: str
    data: dict[str, Any] = {}
    crops: CropChoice
    patches: tuple[int, ...] = Field((33,), min_length=1)
    shrink: PositiveInt = 4
    values: int = Field(128, ge=2)
    losses: LossWeights = LossWeights()
    steps: PositiveInt = 1000
    batch: int = Field(4, ge=2)
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(1e-5, ge=0)

    @field_validator("patches")
    @classmethod
    def _known(cls, patches: tuple[int, ...]) -> tuple[int, ...]:
        if not set(patches) <= set(LAYERS) or len(set(patches)) < len(patches):
            raise ValueError(f"expected different ones of {', '.join(map(str, LAYERS))}")
        return patches
