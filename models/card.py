"""The model card: description, origin, quality and settings of a trained model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypeVar

from pipeline import files
from pipeline.errors import MistwatchError
from pipeline.windows import StoredClip

CARD_FILE = "model-card.json"

#: The trained models that come with mistwatch, a folder each.
BUILT_IN = Path(__file__).parent / "weights"


class CardError(MistwatchError):
    """A model card cannot be used."""


#: Name of a model, which becomes part of file names (in the cache, for example).
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Part):
    """The part of a model card that belongs to the detector's family; each family derives its own.

    Attributes:
        type: name of the architecture within the family.
    """

    type: str


class Backbone(_Part):
    """A published network that the detector stands on; a family derives its own where it needs more of it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    tensors_sha256: str


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


class Comparison(_Part):
    """Figures of a precision against float32 on the same clips.

    Attributes:
        auc_fp32, auc: over the videos, each scored by the mean of its clips; None where one label is missing.
        auc_points_lost: in hundredths; negative where the other precision is better.
        auc_points_interval: 95 % interval of the loss, by groups of videos.
        largest_move, mean_move: of a smoothed score.
    """

    videos: int
    clips: int
    auc_fp32: float | None
    auc: float | None
    auc_points_lost: float | None
    auc_points_interval: tuple[float, float] | None
    largest_move: float
    mean_move: float


class PrecisionCost(Comparison):
    """The cost of computing with another precision than float32, as the accuracy gate measured it.

    Attributes:
        calibration: origin of the clips that gave the ranges of int8; empty for other precisions.
        in_float: layers that stay in float32 because they hurt, by parts of their names.
        ranges_sha256: of the ranges, as a model keeps them in a file beside its weights; empty for other precisions.
        validation: name of the validation set; no clip of it gave a range.
        bound: most that the gate lets a smoothed score move.
        processor: the one that it was measured on.
    """

    precision: Literal["bf16", "int8", "fp16"]
    calibration: str = ""
    calibration_clips: int = 0
    in_float: tuple[str, ...] = ()
    ranges_sha256: str = ""
    validation: str
    bound: float
    processor: str


class ServedPrecision(_Part):
    """The precision of an exported version.

    Attributes:
        cost: as the accuracy gate measured it; None for float32, and for a precision that was forced unmeasured.
        forced: the export was asked to ignore the gate.
        note: the reason, for people.
    """

    precision: Literal["fp32", "bf16", "int8", "fp16"]
    cost: PrecisionCost | None = None
    forced: bool = False
    note: str = ""

    def identity(self, weights_sha256: str) -> str:
        """Return a SHA-256 of what computes the scores: the weights, the precision, and what quantised them.

        In float32 it is that of the weights itself. The processor has no part in it.
        """
        if self.precision == "fp32":
            return weights_sha256
        parts: list[object] = [weights_sha256, self.precision]
        if self.cost is not None:
            parts += [self.cost.ranges_sha256, self.cost.in_float]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


SERVED_FLOAT32 = ServedPrecision(precision="fp32")


#: A family's own kind of architecture.
Own = TypeVar("Own", default=Any)


class ModelCard(_Part, Generic[Own]):
    """The card. Free text and the figures of one kind of training stay plain mappings.

    A family derives its own card, with its own architecture and, where it needs them, further keys; this one reads the
    common part of any family's, and keeps the rest as it is.

    Attributes:
        family: kind of detector; cards without it were written before there were several, by MIST.
        backbone: None for a detector that stands on no published network.
        training: data, licence, manifest digest, recipe, seeds.
        figures: measurements, and their data.
        held_out_sources: groups of the manifest that the weights never saw.
        precisions: the measured cost of precisions, by which an export chooses.
        served: of an exported version, if it does not compute in float32, or was asked to choose.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_version: Literal[1] = 1
    family: str = "mist"
    name: ModelName
    description: str
    architecture: Own
    backbone: Backbone | None = None
    weights_sha256: str
    clip: StoredClip
    alerting: Alerting
    training: dict[str, Any]
    figures: dict[str, Any]
    held_out_sources: list[str] = []
    sees: list[str] = []
    does_not_see: list[str] = []
    precisions: tuple[PrecisionCost, ...] = ()
    served: ServedPrecision | None = None


def features_digest(card: ModelCard[Any]) -> str | None:
    """Return a digest of what decides a detector's FEATURES, apart from the stride; None where its card does not say.

    That is the backbone with its layers, the contrast, and the clips.
    """
    given = card.model_dump(mode="json")
    backbone = given.get("backbone") or {}
    if not backbone.get("layers"):
        return None
    return digest_of_features(backbone, given.get("contrast"), card.clip)


def digest_of_features(backbone: Mapping[str, Any], contrast: Any, clip: StoredClip) -> str:
    """Return the digest of features, 16 hexadecimal digits.

    Args:
        backbone: ``name``, ``tensors_sha256`` and ``layers``.
    """
    decides = [
        [backbone["name"], backbone["tensors_sha256"], list(backbone["layers"])],
        contrast,
        {**clip.model_dump(mode="json"), "stride": 0},
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


class CameraCard(ModelCard[Own], Generic[Own]):
    """The card of a detector that has learned one camera.

    Attributes:
        camera: its name.
    """

    camera: str


Card = TypeVar("Card", bound=ModelCard[Any])
Document = TypeVar("Document", bound=BaseModel)


@overload
def read_card(folder: Path) -> ModelCard[Any]: ...


@overload
def read_card(folder: Path, kind: type[Card]) -> Card: ...


def read_card(folder: Path, kind: type[Any] = ModelCard) -> Any:
    """Read the card of the model in ``folder``.

    Args:
        kind: a family's card; by default the part that all families have in common.

    Raises:
        CardError: the card is missing or damaged, or belongs to another family.
    """
    try:
        return read_card_file(folder / CARD_FILE, kind)
    except FileNotFoundError:
        raise CardError(f"{folder}: no {CARD_FILE} there; expected the folder of a trained model") from None


def write_card(card: ModelCard[Any], folder: Path) -> None:
    """Write the card, in full or not at all. Raises OSError."""
    write_card_file(card, folder / CARD_FILE)


def read_card_file(file: Path, kind: type[Document]) -> Document:
    """Read a card of any kind.

    Raises:
        FileNotFoundError: it is missing.
        CardError: it is damaged, or of another kind.
    """
    try:
        return kind.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{file}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [str(part) for part in first["loc"]]
        if first["type"].startswith("union_tag"):
            place.append("type")  # the key that selects the member of the union
        key = ".".join(place)
        raise CardError(f"{file}: {key + ': ' if key else ''}{first['msg']}") from None


def write_card_file(card: BaseModel, file: Path) -> None:
    """Write a card of any kind, in full or not at all. Raises OSError."""
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    files.write_text(file, text + "\n")
