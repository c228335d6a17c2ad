"""Settings of a training of places: a YAML file under ``configs/train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from models.card import ModelName
from models.places.card import BackboneName
from models.places.loss import LEVEL_WEIGHTS
from models.places.network import CHANNELS

#: Height and width, pixels.
Size = tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]


class Part(BaseModel):
    """A part of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Part):
    """The pictures of a data set.

    Attributes:
        layout: ``courtyard``: rendered; ``folder``: our own layout of files; or that of a published data set.
        folder: of the files; relative to the folder that the command names, else to the current one.
        split: of a published data set.
        labels: for judged pictures of files: the data set of the label tree whose labels they have.
        first_seed, days: of the courtyard: its days have seeds in a row.
    """

    layout: Literal["courtyard", "folder", "cityscapes", "vistas", "gtsdb"]
    folder: Path | None = None
    split: str = "train"
    labels: str | None = None
    first_seed: int = Field(0, ge=0)
    days: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> Source:
        if (self.layout == "courtyard") != (self.folder is None):
            needs = "no folder" if self.layout == "courtyard" else "a folder"
            raise ValueError(f"layout {self.layout}: expected {needs} (got {self.folder})")
        return self

    @property
    def seeds(self) -> range:
        """The seeds of the courtyard's days."""
        return range(self.first_seed, self.first_seed + self.days)


class Rendering(Part):
    """The pictures of the courtyard.

    Attributes:
        pictures: of each day; every second one shows a thing that is looked for.
        width: pixels; pictures are of 16:9.
    """

    pictures: int = Field(8, ge=1, le=64)
    width: Literal[640, 320, 160, 128, 80] = 320


class Data(Part):
    """The data sets.

    Attributes:
        tree: file of the label tree, relative to the current folder.
        sets: pictures of each data set of the tree.
        judged: pictures with dense masks of the finest classes; None for a training that is not judged.
        rendering: of the courtyard, in all sets.
        obtain: how to get the pictures, for people who do not have them.
    """

    tree: Path
    sets: dict[str, Source]
    judged: Source | None = None
    rendering: Rendering = Rendering()
    obtain: str = ""


class Views(Part):
    """The part of a picture that a step reads.

    Attributes:
        size: height and width to which pictures are scaled, in training, in judging and when served.
        crop: height and width of the part that is cut out at a random place.
        zoom: least and most factor of a picture beyond the one with which it just covers ``size``.
        flip: mirror half of the views; not where pictures show text or signs with directions.
    """

    size: Size
    crop: Size
    zoom: tuple[float, float] = (1.0, 1.0)
    flip: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Views:
        if not 1 <= self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom must rise, from 1 or more (got {self.zoom[0]:g} to {self.zoom[1]:g})")
        if self.crop[0] > self.size[0] or self.crop[1] > self.size[1]:
            raise ValueError(f"crop must lie within size (got {self.crop} in {self.size})")
        return self


class Optimisation(Part):
    """The optimiser and the length of a training.

    Attributes:
        steps: their number; None to give ``epochs``.
        epochs: of the largest data set.
        learning_rate: at the first step.
        halvings: times that it is halved, each after an equal part of the steps.
        level_weights: λ of the hierarchical loss by level.
        kept_every: steps from checkpoint to checkpoint.
        workers: processes that prepare batches. The result does not depend on them.
    """

    optimiser: Literal["sgd", "adam"] = "sgd"
    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None
    learning_rate: PositiveFloat = 0.01
    halvings: int = Field(3, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.00017
    level_weights: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = LEVEL_WEIGHTS
    kept_every: PositiveInt = 50
    workers: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> Optimisation:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"expected either steps or epochs (got {self.steps} and {self.epochs})")
        return self


class PlacesRecipe(Part):
    """The recipe of ``mistwatch train places``.

    Attributes:
        kind: ``hierarchical``; ``flat``: one softmax over all classes, with which the tree is compared.
        channels: that the classifiers share.
        shares: pictures of each data set in a batch.
    """

    name: ModelName = "places"
    description: str = "Finds places and things in pictures, learned from data sets with different labels."
    kind: Literal["hierarchical", "flat"] = "hierarchical"
    data: Data
    backbone: BackboneName = "efficientnet-lite0"
    channels: int = Field(CHANNELS, ge=4, multiple_of=4)
    shares: dict[str, PositiveInt]
    views: Views
    optimisation: Optimisation

    def settings(self) -> dict[str, Any]:
        """Return what decides the weights, as plain JSON, without the data."""
        kept = self.model_dump(mode="json", include={"kind", "backbone", "channels", "shares", "views", "optimisation"})
        del kept["optimisation"]["workers"]
        return kept
