"""The settings with which teachers are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

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


class PatchChoice(_Part):
    """Patches of still pictures, as in the paper.

    Attributes:
        folder: of pictures, in folders of any depth; relative to the current folder.
        obtain: how to get them, for people who do not have them.
        sides: the least and the most of a scaled picture's shorter side, in receptive fields p.
        grey: share of the pictures that lose their colour.
        brightness: a positive patch is brighter or darker by up to this share. The paper does not state it.
        noise: spread of the noise of a positive patch, of pictures in 0 to 1.
    """

    folder: Path
    obtain: str = ""
    sides: tuple[PositiveInt, PositiveInt] = (4, 16)
    grey: float = Field(0.1, ge=0, le=1)
    brightness: float = Field(0.2, ge=0, lt=1)
    noise: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> PatchChoice:
        if self.sides[0] > self.sides[1]:
            raise ValueError(f"sides: the least must not be above the most, got {self.sides[0]} and {self.sides[1]}")
        return self


class LossWeights(_Part):
    """λk, λm and λc, the form of the last one, and the margin δ of the triplets."""

    distillation: float = Field(1.0, ge=0)
    triplets: float = Field(0.0, ge=0)
    compactness: float = Field(1.0, ge=0)
    compactness_form: Compactness = Compactness.SUM
    margin: PositiveFloat = 1.0


class TeacherRecipe(_Part):
    """The recipe: one teacher for each receptive field.

    Attributes:
        crops: crops of films, the same ones for all teachers.
        stills: still pictures instead.
        patches: receptive fields p, pixels.
        shrink: number by which the paper's channels are divided.
        values: of a descriptor, d.
        batch: crops of a step, of which each gives 1,024 descriptors, or patches.
        learning_rate: of Adam at the first step.
        falls: whether it falls to 0 evenly.
    """

    name: ModelName
    description: str
    data: dict[str, Any] = {}
    crops: CropChoice | None = None
    stills: PatchChoice | None = None
    patches: tuple[int, ...] = Field((33,), min_length=1)
    shrink: PositiveInt = 4
    values: int = Field(128, ge=2)
    losses: LossWeights = LossWeights()
    steps: PositiveInt = 1000
    batch: int = Field(4, ge=2)
    learning_rate: PositiveFloat = 1e-3
    falls: bool = True
    weight_decay: float = Field(1e-5, ge=0)

    @field_validator("patches")
    @classmethod
    def _known(cls, patches: tuple[int, ...]) -> tuple[int, ...]:
        if not set(patches) <= set(LAYERS) or len(set(patches)) < len(patches):
            raise ValueError(f"expected different ones of {', '.join(map(str, LAYERS))}")
        return patches

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherRecipe:
        if (self.crops is None) == (self.stills is None):
            raise ValueError("expected either crops (of films) or stills (pictures)")
        return self
