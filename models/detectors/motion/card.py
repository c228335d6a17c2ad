"""The motion detector's part of the model card."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from models import card
from models.card import CameraCard


class Architecture(card.Architecture):
    """Rows of cells whose speeds are compared, and the levels of the map from values to scores.

    The flow is that from the first to the last frame of a clip.
    """

    type: Literal["speed"] = "speed"
    rows: int = Field(ge=1)
    levels: int = Field(ge=1)


class MotionCard(CameraCard[Architecture]):
    """The card of a detector of this family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["motion"] = "motion"
