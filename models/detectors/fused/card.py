"""The fused detector's part of the model card."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models import card
from models.card import CameraCard


class Combination(StrEnum):
    """Ways to combine the members' maps; see :mod:`models.detectors.fused.combining`."""

    DECADES = "decades"  #: tail probabilities multiplied, as R. A. Fisher does
    SUM = "sum"  #: standardised values summed


class Member(BaseModel):
    """A member, whose model is the folder ``members/FAMILY``.

    Attributes:
        weights_sha256: as the member's own card has it.
        frames: of its clips; it takes the last ones of the detector's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    weights_sha256: str
    frames: int = Field(ge=1)


class Architecture(card.Architecture):
    """The members, how their maps are combined, and the levels of the map from values to scores."""

    type: Literal["fused"] = "fused"
    members: Annotated[tuple[Member, ...], Field(min_length=2)]
    combination: Combination
    levels: int = Field(ge=1)


class FusedCard(CameraCard[Architecture]):
    """The card of a detector of this family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["fused"] = "fused"
