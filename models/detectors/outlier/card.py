"""The outlier detector's part of the model card."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from models import card
from models.backbones.efficientnet_stages import StageName
from models.card import CameraCard

Estimator = Literal["lof", "forest", "svm"]
Mode = Literal["novelty", "outlier"]
Features = Literal["places", "pooled"]
BackboneName = Literal["efficientnet-lite0", "i3d-kinetics400", "vgg16-convolutions"]
#: Stages whose maps make up a descriptor, from fine to coarse.
StageNames = Annotated[tuple[StageName, ...], Field(min_length=1)]


class Architecture(card.Architecture):
    """The rows that are compared with normal ones, and the estimator.

    Attributes:
        estimator: local outlier factor, isolation forest or one-class SVM.
        mode: whether the footage was taken as clean (``novelty``) or as contaminated (``outlier``).
        contamination: share of the clips stated to show an incident; 0 for clean footage.
        features: a row for each place of a picture, or one for the whole clip.
        layers, enlarge, grid: of the descriptors, as in a memory bank; unused by a backbone of clips.
        values: of a row as the backbone gives it.
        kept: values of a row after the projection; equal to ``values`` where there is none.
        projected: whether rows are projected on the main axes of the sample.
        size: rows that the estimator holds: the sample of lof, the nodes of forest, the support vectors of svm.
        trees: of a forest; 0 for the others.
        levels: of the map from values to scores.
    """

    type: Literal["outlier"] = "outlier"
    estimator: Estimator
    mode: Mode
    contamination: float = Field(ge=0, lt=0.5)
    features: Features
    layers: StageNames
    enlarge: int = Field(ge=1)
    grid: StageName | None
    values: int = Field(ge=1)
    kept: int = Field(ge=1)
    projected: bool
    size: int = Field(ge=1)
    trees: int = Field(ge=0)
    levels: int = Field(ge=1)


class OutlierCard(CameraCard[Architecture]):
    """The card of a detector of this family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["outlier"] = "outlier"
    backbone: card.Backbone
