"""The model card: what a trained model is, where it comes from, how good it is, and how it wants to be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import MistwatchError
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

CARD_FILE = "model-card.json"

#: The trained models that come with mistwatch, a folder each.
BUILT_IN = Path(__file__).parent / "weights"


class CardError(MistwatchError):
    """A model card cannot be used. One line that names the file and the key."""


#: Layers of I3D whose pooled maps can be features.
Layers = Annotated[tuple[Literal["mixed_4f", "mixed_5c"], ...], Field(min_length=1)]


#: Attended maps that the weighted head reads; the late one alone, as published.
Reads = Annotated[tuple[Literal["early", "late"], ...], Field(min_length=1)]


#: Of a model. It becomes part of file names, in the cache for one.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Part):
    """The generator; the defaults are the paper's.

    ``unit_length`` scales each feature vector to length 1 before anything else: what a clip shows, not how strongly.
    """

    type: Literal["generator"] = "generator"
    inputs: int = Field(1024, ge=1)
    hidden: tuple[int, int] = (512, 32)
    dropout: float = Field(0.6, ge=0, lt=1)
    unit_length: bool = False


class SelfGuidedArchitecture(_Part):
    """The encoder with self-guided attention, :class:`models.detectors.mist.sga.SelfGuidedHeads` on a backbone's maps.

    The defaults are the published ones. ``slope`` and ``shift`` calibrate the scores: the difference d of the weighted
    logits counts as slope · d + shift. ``fine_tuned``: the backbone was trained too, its weights are with the heads'.
    ``reads``: which attended maps the weighted head averages, in this order; ``unit_length`` scales each one's average
    to length 1: what a clip shows, not how strongly.
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
    slope: float = Field(1.0, gt=0, allow_inf_nan=False)
    shift: float = Field(0.0, allow_inf_nan=False)

    @property
    def inputs(self) -> int:
        """Numbers that the weighted head reads of a clip, as :class:`Architecture` has them of the generator."""
        return sum({"early": self.early, "late": self.features}[part] for part in self.reads)


class Backbone(_Part):
    """The network whose features the generator reads (its layers' pooled maps, in order), or whose maps the heads do.

    Self-guided heads read the whole maps of two layers; ``layers`` says nothing to them.
    """

    name: str
    tensors_sha256: str
    layers: Layers = ("mixed_5c",)


class Clip(_Part):
    """The clips that the model was trained with; ``stride`` is how they are cut live."""

    frames: int = Field(ge=1)
    stride: int = Field(ge=1)
    fps: float | Literal["native"]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    fit: Fit

    @classmethod
    def of(cls, spec: ClipSpec) -> Clip:
        return cls(
            frames=spec.frames,
            stride=spec.stride,
            fps="native" if spec.fps is None else spec.fps,
            height=spec.height,
            width=spec.width,
            fit=spec.fit,
        )

    @property
    def spec(self) -> ClipSpec:
        fps = None if self.fps == "native" else float(self.fps)
        return ClipSpec(self.frames, self.stride, self.height, self.width, self.fit, fps)


class Alerting(_Part):
    """Suggested settings of the operators, chosen on scores of videos that the scoring model had not seen."""

    kernel: int = Field(ge=1)  #: of the causal moving average, clips
    open_threshold: float = Field(ge=0, le=1)
    close_threshold: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Alerting:
        if self.close_threshold > self.open_threshold:
            raise ValueError(
                f"close_threshold {self.close_threshold} must not be above open_threshold {self.open_threshold}"
            )
        return self


class ModelCard(_Part):
    """The card. What is free text or figures of one kind of training stays a plain mapping."""

    schema_version: Literal[1] = 1
    name: ModelName
    description: str
    architecture: Annotated[Architecture | SelfGuidedArchitecture, Field(discriminator="type")]
    backbone: Backbone
    weights_sha256: str
    clip: Clip
    alerting: Alerting
    training: dict[str, Any]  #: data, licence, manifest digest, recipe, seeds
    figures: dict[str, Any]  #: what was measured, and on what
    held_out_sources: list[str] = []  #: groups of the manifest that the weights never saw
    sees: list[str] = []
    does_not_see: list[str] = []


def read_card(folder: Path) -> ModelCard:
    """The card of the model in ``folder``.

    Raises:
        CardError: there is none, or it is not what a card should be.
    """
    file = folder / CARD_FILE
    try:
        return ModelCard.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"{folder}: no {CARD_FILE} there; expected the folder of a trained model") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{file}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [str(part) for part in first["loc"]]
        if first["type"].startswith("union_tag"):
            place.append("type")  # there is one union, and that is what tells its members apart
        key = ".".join(place)
        raise CardError(f"{file}: {key + ': ' if key else ''}{first['msg']}") from None


def write_card(card: ModelCard, folder: Path) -> None:
    """Write the card; a crash leaves the old one or the new one.

    Raises:
        OSError: the folder cannot be written.
    """
    draft = folder / f".{CARD_FILE}.tmp"
    draft.write_text(json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(folder / CARD_FILE)
