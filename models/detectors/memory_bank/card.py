"""The memory bank's part of the model card."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from models import card
from models.backbones.efficientnet_stages import StageName
from models.card import CameraCard

#: Stages whose maps make up a descriptor, from fine to coarse.
StageNames = Annotated[tuple[StageName, ...], Field(min_length=1)]
Distance = Literal["gaussian", "neighbours"]


class Architecture(card.Architecture):
    """Descriptors of patches, and what is remembered of the normal ones.

    Attributes:
        layers: stages of the backbone.
        enlarge: how many times a picture is enlarged before the backbone sees it.
        grid: one of the layers, whose map has the cells of the descriptors; None for the last.
        distance: from one Gaussian distribution of all patches, or from the nearest of the remembered ones.
        channels: of a descriptor.
        patches: number that is remembered; 0 for a Gaussian.
        levels: of the map from values to scores.
    """

    type: Literal["memory_bank"] = "memory_bank"
    layers: StageNames
    enlarge: int = Field(ge=1)
    grid: StageName | None = None  # cards of earlier versions lack it
    distance: Distance
    channels: int = Field(ge=1)
    patches: int = Field(ge=0)
    levels: int = Field(ge=1)


class MemoryBankCard(CameraCard[Architecture]):
    """The card of a detector of this family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["memory_bank"] = "memory_bank"
    backbone: card.Backbone
