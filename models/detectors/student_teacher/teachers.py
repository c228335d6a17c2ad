"""Trained teachers: networks of one or several receptive fields, which serve all cameras.

A folder holds them::

    teacher-card.json       sizes, origin, hash
    teachers.safetensors    the weights of each receptive field

It is not a detector, so it has a card of its own kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from models.card import BUILT_IN, CardError, ModelName, read_card_file, write_card_file
from models.detectors.student_teacher.card import Patch
from models.detectors.student_teacher.networks import Descriptors
from models.tensors import load_tensors, save_tensors
from pipeline.errors import UsageError

CARD_FILE, WEIGHTS_FILE = "teacher-card.json", "teachers.safetensors"
#: The teachers that come with mistwatch.
OURS = BUILT_IN / "teachers"


class TeachersError(CardError, UsageError):
    """The teachers are missing."""


class TeacherCard(BaseModel):
    """The card of trained teachers.

    Attributes:
        patches: receptive fields, pixels, one teacher each.
        shrink: number by which the paper's channels are divided.
        values: of a descriptor, d.
        training: data, licence, recipe, seed.
        figures: the losses at the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: ModelName
    description: str
    patches: tuple[Patch, ...] = Field(min_length=1)
    shrink: int = Field(ge=1)
    values: int = Field(ge=1)
    weights_sha256: str
    training: dict[str, Any]
    figures: dict[str, Any]


def blank(patches: Iterable[int], *, shrink: int, values: int) -> nn.ModuleDict:
    """Return a network of :class:`Descriptors` for each receptive field, by its number as text."""
    networks = {str(patch): Descriptors(patch, shrink=shrink, values=values) for patch in patches}
    return nn.ModuleDict(networks).to(memory_format=torch.channels_last)  # a third faster on a CPU


def save_teachers(teachers: nn.ModuleDict, folder: Path) -> str:
    """Write the weights. Returns their SHA-256, for the card. Raises OSError."""
    return save_tensors(teachers.state_dict(), folder / WEIGHTS_FILE)


def write_teacher_card(card: TeacherCard, folder: Path) -> None:
    """Write the card, in full or not at all. Raises OSError."""
    write_card_file(card, folder / CARD_FILE)


def read_teacher_card(folder: Path) -> TeacherCard:
    """Read the card of the teachers in ``folder``.

    Raises:
        TeachersError: it is missing.
        CardError: it is damaged.
    """
    try:
        return read_card_file(folder / CARD_FILE, TeacherCard)
    except FileNotFoundError:
        raise TeachersError(
            f"{folder}: no {CARD_FILE} there; expected the folder of trained teachers, slim or efficientnet-lite0"
        ) from None


def load_teachers(folder: Path, patches: Iterable[int]) -> dict[str, Tensor]:
    """Return the weights of the teachers of some receptive fields, by the names in :func:`blank` of these.

    Raises:
        TeachersError: the card is missing, or lacks one of the receptive fields.
        CardError: it is damaged.
        models.tensors.TensorsError: the weights are missing, damaged, or belong to another card.
    """
    card, wanted = read_teacher_card(folder), tuple(patches)
    if missing := [str(patch) for patch in wanted if patch not in card.patches]:
        raise TeachersError(
            f"{folder / CARD_FILE}: patches: has teachers of {', '.join(map(str, card.patches))} pixels, and "
            f"{', '.join(missing)} is wanted; expected them in the card; name other teachers or other patches"
        )
    tensors = load_tensors(
        folder / WEIGHTS_FILE,
        blank(card.patches, shrink=card.shrink, values=card.values).state_dict(),
        network="set of teachers",
        sha256=card.weights_sha256,
    )
    return {name: tensor for name, tensor in tensors.items() if int(name.partition(".")[0]) in wanted}
