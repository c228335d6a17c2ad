"""The student–teacher detector's part of the model card."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, PositiveInt

from models import card
from models.card import CameraCard

#: Receptive fields of the paper's networks, pixels.
Patch = Literal[17, 33, 65]


class Architecture(card.Architecture):
    """Sizes of the networks, and of what was learned beside them.

    Attributes:
        patches: receptive fields, pixels.
        shrink: number by which the paper's channels are divided.
        values: of a descriptor, d.
        students: number of students for each receptive field, M.
        speed: whether students also predict speeds.
        places: rows and columns of the places that are normalised apart; (1, 1) for all of them together.
        levels: of the map from values to scores.
    """

    type: Literal["student-teacher"] = "student-teacher"
    patches: tuple[Patch, ...] = Field(min_length=1)
    shrink: int = Field(ge=1)
    values: int = Field(ge=1)
    students: int = Field(ge=1)
    speed: bool
    places: tuple[PositiveInt, PositiveInt]
    levels: int = Field(ge=1)


class StudentTeacherCard(CameraCard[Architecture]):
    """The card of a detector of this family.

    Its ``backbone`` is the teacher; None where trained teachers lie in the weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["student_teacher"] = "student_teacher"
