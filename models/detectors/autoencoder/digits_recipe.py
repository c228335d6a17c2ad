"""The settings of the autoencoder of handwritten digits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from models.card import ModelName


class DigitsRecipe(BaseModel):
    """The recipe.

    Attributes:
        label: whether the digit's label is an input beside its pixels.
        sizes: of the hidden layers, to the code; the layers after it mirror them.
        batch: digits of a step.
        learning_rate: of Adam, throughout.
        unusual: number of the most unusual digits that are listed and drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName
    description: str
    label: bool = True
    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (48, 32, 8)
    epochs: PositiveInt = 200
    batch: PositiveInt = 10
    learning_rate: PositiveFloat = 0.002
    unusual: int = Field(10, ge=1, le=100)
