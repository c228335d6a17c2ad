"""MIST's part of the model card."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from models import card
from models.backbones.layers import LateLayers, Layers
from models.card import ModelCard
from models.data.contrast import Contrast

C3D_NAME = "c3d"  #: name of the backbone in a card; no weights by that name are published

#: Attended maps that the weighted head reads; the late one alone, as published.
Reads = Annotated[tuple[Literal["early", "late"], ...], Field(min_length=1)]


class Architecture(card.Architecture):
    """The generator; the defaults are the paper's.

    ``unit_length`` scales each feature vector to length 1 before anything else: what a clip shows, not how strongly.
    """

    type: Literal["generator"] = "generator"
    inputs: int = Field(1024, ge=1)
    hidden: tuple[int, int] = (512, 32)
    dropout: float = Field(0.6, ge=0, lt=1)
    unit_length: bool = False


class SelfGuidedArchitecture(card.Architecture):
    """The encoder with self-guided attention, :class:`models.detectors.mist.sga.SelfGuidedHeads` on a backbone's maps.

    The defaults are the published ones. ``slope`` and ``shift`` calibrate the scores: the difference d of the weighted
    logits counts as slope · d + shift. ``fine_tuned``: the backbone was trained too, its weights are with the heads'.
    ``reads``: attended maps that the weighted head averages, in this order; ``unit_length`` scales each one's average
    to length 1: what a clip shows, not how strongly. ``late``: layers of I3D that make up the late map.
    """

    type: Literal["self_guided"] = "self_guided"
    early: int = Field(832, ge=1)  #: channels of the early map: 832 of I3D's Mixed_4f, 512 of C3D's conv4b
    hidden: int = Field(832, ge=1)
    detectors: int = Field(8, ge=1)  #: K, for each of the two classes
    features: int = Field(1024, ge=1)  #: channels of the late map: 1024 of I3D's Mixed_5c, 512 of C3D's conv5b
    dropout: float = Field(0.8, ge=0, lt=1)
    reads: Reads = ("late",)
    unit_length: bool = False
    fine_tuned: bool = False
    late: LateLayers = ("mixed_5c",)
    slope: float = Field(1.0, gt=0, allow_inf_nan=False)
    shift: float = Field(0.0, allow_inf_nan=False)

    @property
    def inputs(self) -> int:
        """Width of the vector that the weighted head reads."""
        return sum({"early": self.early, "late": self.features}[part] for part in self.reads)


class Backbone(card.Backbone):
    """The network whose features the generator reads (its layers' pooled maps, in order), or whose maps the heads do.

    Self-guided heads read the whole maps of two layers, whatever ``layers`` are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: Layers = ("mixed_5c",)


class MistCard(ModelCard[Annotated[Architecture | SelfGuidedArchitecture, Field(discriminator="type")]]):
    """The card of a detector of this family.

    ``contrast``: the networks read differences from the standing scene; None: the clip's own features and maps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["mist"] = "mist"
    backbone: Backbone
    contrast: Contrast | None = None

    @model_validator(mode="after")
    def _consistent(self) -> MistCard:
        if self.contrast is not None and self.backbone.name == C3D_NAME:
            raise ValueError("contrast needs a backbone whose maps of a standing scene are known, such as I3D; got c3d")
        return self
