"""An alert's likeness: its embedding, its group of alike alerts, the earlier ones most like it, and a mute.

An embedding is float32 (D,) of length 1, made by the model that ``embedding_version`` names. Embeddings of two versions
are never compared. Documents hold it as float16.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal
from uuid import UUID

import numpy as np
from pydantic import AfterValidator, Field

from operators.grouping import Embedding, checked_embedding
from pipeline.alerts.cloud_event import Document, Utc

#: Decimals of a similarity in a document: the rounding of float16 changes the fourth one.
SIMILARITY_DECIMALS: Final = 4
#: Most earlier alerts that an alert names.
MOST_SIMILAR: Final = 5

#: An operator's verdict on an alert or a group: a false alarm that is normal here, or a real incident.
Verdict = Literal["normal", "real"]

Similarity = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]


def embedding_text(embedding: Embedding) -> str:
    """Return an embedding as documents hold it: base64 of its values as little-endian float16.

    Raises:
        ValueError: not an embedding; see :func:`operators.grouping.checked_embedding`.
    """
    return base64.b64encode(checked_embedding(embedding).astype("<f2").tobytes()).decode("ascii")


def embedding_from(text: str) -> Embedding:
    """Return the embedding of a document, float32 (D,), scaled to length 1 again.

    Raises:
        ValueError: another text.
    """
    try:
        stored = base64.b64decode(text, validate=True)
        given = np.frombuffer(stored, "<f2").astype(np.float32)
    except (binascii.Error, ValueError):
        raise ValueError("an embedding must be base64 of little-endian float16 values") from None
    embedding = checked_embedding(given)
    scaled: Embedding = (embedding / np.linalg.norm(embedding)).astype(np.float32)
    return scaled


def _checked_text(text: str) -> str:
    embedding_from(text)
    return text


EmbeddingText = Annotated[str, AfterValidator(_checked_text)]


class GroupSeen(Document):
    """The group of an alert, as it was known when the event was made."""

    id: UUID = Field(description="alert_id of the alert that founded the group")
    size: Annotated[int, Field(ge=1)] = Field(description="alerts of the group so far, this one included")
    first_at: Utc | None = Field(description="wall-clock time of its earliest alert (UTC), null when unknown")
    last_day: Annotated[int, Field(ge=0)] | None = Field(
        description="alerts of the group in the 24 hours before this one, by the wall clock of the scene; null when "
        "this one's time is unknown"
    )
    judgement: Verdict | None = Field(description="the operator's verdict on the group that is in force, null if none")
    similarity: Similarity = Field(description="the site's least similarity of an alert to the centre of its group")
    mute_similarity: Similarity = Field(
        description="the site's least similarity to a judged alert from which on one is muted, unless the judgement "
        "names another"
    )


class SimilarAlert(Document):
    """An earlier alert that looks like this one."""

    alert_id: UUID
    camera: Annotated[str, Field(min_length=1)]
    started_at: Utc | None = Field(description="wall-clock time of its first frame (UTC), null when unknown")
    similarity: Similarity = Field(description="cosine similarity of the two embeddings")
    judgement: Verdict | None = Field(
        description="the operator's verdict on that alert, else on its group, that is in force; null if none"
    )


class Likeness(Document):
    """The alert among the site's other alerts."""

    embedding_version: Annotated[str, Field(min_length=1)] = Field(
        description="the model of the embedding and its weights; only embeddings of one version compare"
    )
    embedding: EmbeddingText = Field(description="base64 of little-endian float16 values, together of length 1")
    group: GroupSeen
    similar: Annotated[tuple[SimilarAlert, ...], Field(max_length=MOST_SIMILAR)] = Field(
        description="earlier alerts, most similar first"
    )


class MutedBecause(Document):
    """The judgement that mutes an alert."""

    judgement: UUID = Field(description="judgement_id")
    similarity: Similarity = Field(description="of the alert to the judgement's nearest exemplar")
    note: str = Field(description="the operator's note on the judgement, empty if none")
