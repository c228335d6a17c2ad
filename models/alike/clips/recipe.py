"""Settings of SimCLR on clips: a YAML file under ``configs/train``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from models.alike.clips.views import ClipViewsRecipe
from models.alike.recipe import ContrastRecipe, Part
from models.backbones.layers import Layers
from models.card import ModelName
from pipeline.windows import ClipSpec, StoredClip


class Films(Part):
    """The films. They have no labels.

    Attributes:
        folder: where they are unless the command names another place; relative to the current folder.
        obtain: how to get them, for people who do not have them.
        every_frames: frames of the clip's rate from one stretch to the next.
    """

    folder: Path | None = None
    obtain: str = ""
    every_frames: PositiveInt = 32


class HeadRecipe(Part):
    """The linear head on the features of a frozen backbone.

    Attributes:
        components: principal components of the features that it reads, at most.
        power: 0 leaves their spreads as they are, 1 makes them equal.
        dropout: share of the components that a view lacks.
    """

    components: PositiveInt = 256
    power: float = Field(0.5, ge=0, le=1)
    dropout: float = Field(0.3, ge=0, lt=1)


class ClipRecipe(Part):
    """The recipe of ``mistwatch train simclr`` for clips.

    Attributes:
        kind: tells such a recipe from one for pictures.
        name, description: for the card.
        films: what is learned from.
        clip: the clips of the detector whose features are embedded.
        weights: ``frozen``: the published backbone is kept, and a head is trained on its features, which a CPU can do.
            ``none``: the backbone is trained from scratch, with the head; what it learns cannot be served.
        backbone, layers: whose pooled maps are the features.
        views: random views of each stretch.
        head: of a frozen backbone.
        contrast: its training. ``hidden`` is of the head of a backbone that is trained from scratch.
        apart, mute_apart: the suggested similarities, of a group and of a mute, are those that these shares of pairs of
            clips of different films do not reach.
    """

    kind: Literal["clips"]
    name: ModelName = "alike"
    description: str = "Embeds clips by the features of a detector, learned without labels by SimCLR."
    films: Films = Films()
    clip: StoredClip = StoredClip.from_spec(ClipSpec())
    weights: Literal["frozen", "none"] = "frozen"
    backbone: str = "i3d-kinetics400"
    layers: Layers = ("mixed_5c",)
    views: ClipViewsRecipe = ClipViewsRecipe()
    head: HeadRecipe = HeadRecipe()
    contrast: ContrastRecipe = ContrastRecipe()
    apart: float = Field(0.99, gt=0, lt=1)
    mute_apart: float = Field(0.999, gt=0, lt=1)
