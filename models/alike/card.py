"""The card of an embedding and its clusters."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from models.card import ModelName

CARD_FILE = "alike-card.json"


class AlikeCard(BaseModel):
    """The card.

    Attributes:
        size: height, width and channels of the pictures.
        values: of an embedding.
        clusters: their number.
        embedding_sha256, clusters_sha256: hashes of the two files of weights.
        training: data, seed and versions.
        figures: of the judged pictures; empty where they have no labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: ModelName
    description: str
    size: tuple[int, int, int]
    values: int
    clusters: int
    embedding_sha256: str
    clusters_sha256: str
    training: dict[str, Any]
    figures: dict[str, Any]
