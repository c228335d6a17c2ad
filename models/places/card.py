"""The card of a network that finds places and things."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from models.card import ModelName
from models.places.tree import DataSet, LabelTree

CARD_FILE = "places-card.json"

BackboneName = Literal["resnet50-dilated", "efficientnet-lite0"]  #: see :mod:`models.places.backbones`


class PlacesCard(BaseModel):
    """The card.

    Attributes:
        kind: ``hierarchical``, or ``flat``: the baseline, which is not served.
        classifiers, data_sets: the label tree; labels that were moved below their node have their new one.
        things: the topmost nodes that are things rather than places.
        size: height and width of the pictures.
        channels: that the classifiers share.
        weights_sha256: hash of the file of weights.
        recipe: settings of the training.
        training: data and versions.
        figures: of the judged pictures.
        judged: the pictures that were judged, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: ModelName
    description: str
    kind: Literal["hierarchical", "flat"]
    classifiers: dict[str, tuple[str, ...]]
    data_sets: dict[str, DataSet]
    things: tuple[str, ...] = ()
    backbone: BackboneName
    size: tuple[int, int]
    channels: int
    weights_sha256: str
    recipe: dict[str, Any]
    seed: int
    training: dict[str, Any]
    figures: dict[str, Any]
    judged: str

    @property
    def tree(self) -> LabelTree:
        """The label tree."""
        return LabelTree(self.classifiers, self.data_sets, self.things)
