"""The classifier's part of the model card."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from models import card
from models.card import ModelCard

#: A network of which convolutions are used as they are.
BackboneName = Literal["efficientnet-lite0", "vgg16"]
#: The trained layers: one linear layer on the averaged map, or the three linear layers of VGG-16.
HeadName = Literal["pooled", "linear_layers"]


class Architecture(card.Architecture):
    """Frozen convolutions, and a trained head.

    Attributes:
        classes: in the order of the outputs; the first one is normal, and all others are anomalies.
        channels: of the map that the head reads.
    """

    type: Literal["classifier"] = "classifier"
    backbone: BackboneName
    head: HeadName
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    channels: int = Field(ge=1)


class ClassifierCard(ModelCard[Architecture]):
    """The card of a detector of this family.

    Attributes:
        backbone: published weights of the convolutions; None where they came from a file of the user's, and lie with
            the head.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["classifier"] = "classifier"
