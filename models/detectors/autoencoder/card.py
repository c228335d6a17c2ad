"""The autoencoder's part of the model card."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field, PositiveInt

from models import card
from models.card import CameraCard


class Error(StrEnum):
    """The difference between a picture and its reconstruction."""

    L2 = "l2"  #: squared, pixel by pixel
    SSIM = "ssim"  #: of structure, window by window
    BOTH = "both"  #: the mean of both, each in spreads of normal footage


class Architecture(card.Architecture):
    """Sizes of the network, and of what was learned beside it.

    Attributes:
        channels: of the encoder's layers, each of which halves the picture.
        code: values that describe a place of the smallest map.
        error: the maps of differences.
        places: rows and columns of the places that are normalised apart; (1, 1) for all of them together.
        levels: of the map from values to scores.
    """

    type: Literal["autoencoder"] = "autoencoder"
    channels: tuple[PositiveInt, ...] = Field(min_length=1)
    code: int = Field(ge=1)
    error: Error
    places: tuple[PositiveInt, PositiveInt]
    levels: int = Field(ge=1)


class AutoencoderCard(CameraCard[Architecture]):
    """The card of a detector of this family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["autoencoder"] = "autoencoder"
