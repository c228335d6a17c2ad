"""The card of an embedding model: the features that it takes, the length of its embeddings, its origin and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.card import (
    BUILT_IN,
    Backbone,
    CardError,
    ModelCard,
    ModelName,
    digest_of_features,
    features_digest,
    read_card_file,
    write_card_file,
)
from pipeline.windows import StoredClip

#: Not ``model-card.json``: the folder holds no detector.
EMBEDDING_CARD_FILE = "embedding-card.json"

#: Digits of a hash that name the weights in an embedding's version.
_DIGITS = 16


class Features(BaseModel):
    """The features that an embedding model takes: the output FEATURES of a detector.

    Attributes:
        backbone: the published network, whose features they are.
        layers: its layers, pooled and side by side.
        contrast: settings of differences from the standing scene; None for plain features.
        clip: the clips that the network sees.
        count: number of values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: Backbone
    layers: tuple[str, ...]
    contrast: dict[str, Any] | None = None
    clip: StoredClip
    count: int = Field(ge=1)

    @property
    def digest(self) -> str:
        """Return a digest of what decides them; the number of values follows from it."""
        backbone = {**self.backbone.model_dump(mode="json"), "layers": self.layers}
        return digest_of_features(backbone, self.contrast, self.clip)

    def are_those_of(self, card: ModelCard[Any]) -> bool:
        """Return whether a detector's FEATURES are these, whatever its stride."""
        return features_digest(card) == self.digest

    def are_like(self, other: Features) -> bool:
        """Return whether both are the same features, whatever the strides of their clips."""
        return (self.digest, self.count) == (other.digest, other.count)


class EmbeddingCard(BaseModel):
    """The card.

    Attributes:
        widths: outputs of each linear layer; the last is the length of an embedding.
        similarity: suggested least similarity of an alert to its group.
        mute_similarity: suggested least similarity to a judged alert from which on one is muted; stricter, because a
            real incident may be muted.
        weights_sha256: of the weights' file.
        training: data, licence, recipe, seeds.
        figures: measurements, and their data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: ModelName
    description: str
    features: Features
    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    similarity: Annotated[float, Field(gt=0, le=1)]
    mute_similarity: Annotated[float, Field(gt=0, le=1)]
    weights_sha256: str
    training: dict[str, Any]
    figures: dict[str, Any]

    @property
    def version(self) -> str:
        """Return the version of the embeddings: only those of one version can be compared."""
        return f"{self.name}/{self.weights_sha256[:_DIGITS]}"


def read_embedding_card(folder: Path, name: str = EMBEDDING_CARD_FILE) -> EmbeddingCard:
    """Read the card in a model's folder.

    Args:
        name: of the file; a served model's is ``model-card.json``.

    Raises:
        CardError: it is missing or damaged.
    """
    try:
        return read_card_file(folder / name, EmbeddingCard)
    except FileNotFoundError:
        raise CardError(f"{folder}: no {name} there; expected the folder of an embedding model") from None


def write_embedding_card(card: EmbeddingCard, folder: Path) -> None:
    """Write the card, in full or not at all. Raises OSError."""
    write_card_file(card, folder / EMBEDDING_CARD_FILE)


def find_embedding_model(model: str) -> Path | None:
    """Return the folder of an embedding model; None where ``model`` names no such model.

    Args:
        model: the name of one that comes with mistwatch, or a folder's path.
    """
    return next(
        (folder for folder in (BUILT_IN / model, Path(model)) if (folder / EMBEDDING_CARD_FILE).is_file()), None
    )
