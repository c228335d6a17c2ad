"""The judgement event: the operator's verdict on an alert or a group, on the topic beside the alerts.

It holds the embeddings that it is about, so it outlives the alerts that it was made from, and every worker and consumer
learns it from the topic. The latest judgement of a target is in force until it expires; ``withdrawn`` takes it back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

from pydantic import Field, model_validator

from operators.grouping import Embedding
from pipeline.alerts.cloud_event import CloudEvent, Document, Utc, schema_text_of, source_of
from pipeline.alerts.likeness import SIMILARITY_DECIMALS, EmbeddingText, Similarity, embedding_text

JUDGEMENT_TYPE: Final = "mistwatch.judgement"
#: Names the schema of ``data``: the definition JudgementData in schema/judgement.v1.schema.json.
DATA_SCHEMA: Final = "urn:mistwatch:judgement:v1#/$defs/JudgementData"
#: Most embeddings of a judgement: 16 of 128 values are 6 kB of text.
MOST_EXEMPLARS: Final = 16

#: The namespace of judgement ids: a constant of this project, drawn once.
_JUDGEMENT_NAMESPACE = UUID("0f4c8a53-7f0e-4a55-9d0b-5a1f3b8c2e77")


class JudgementData(Document):
    """One verdict."""

    judgement_id: UUID = Field(description="UUIDv5 of site, target, verdict and time")
    site: Annotated[str, Field(min_length=1)]
    about: Literal["alert", "group"]
    target: UUID = Field(description="alert_id of the alert, or id of the group")
    camera: Annotated[str, Field(min_length=1)] | None = Field(description="the alert's camera, null for a group")
    verdict: Literal["normal", "real", "withdrawn"] = Field(
        description="normal: a false alarm, alerts like it are muted; real: alerts nearer to this are never muted; "
        "withdrawn: the earlier verdict on the target no longer holds"
    )
    note: str = Field(description="the operator's words, empty if none")
    judged_at: Utc = Field(description="when it was judged (UTC); of two judgements of a target the later one holds")
    expires_at: Utc | None = Field(description="from then on it does nothing (UTC); null: it does not expire")
    similarity: Similarity = Field(description="normal: least similarity to an exemplar of an alert that is muted")
    embedding_version: Annotated[str, Field(min_length=1)] = Field(description="the model of the exemplars")
    exemplars: Annotated[tuple[EmbeddingText, ...], Field(max_length=MOST_EXEMPLARS)] = Field(
        description="embeddings of what was judged, base64 of little-endian float16; empty only when withdrawn"
    )
    published_at: Utc | None = Field(description="when this event was sent to the topic (UTC)")

    def in_force(self, now: datetime) -> bool:
        """Return whether it is a verdict that has not expired at ``now``."""
        return self.verdict != "withdrawn" and (self.expires_at is None or now < self.expires_at)

    def replaces(self, other: JudgementData) -> bool:
        """Return whether it counts instead of another judgement of the same target."""
        return (self.judged_at, self.judgement_id) > (other.judged_at, other.judgement_id)


class JudgementEvent(CloudEvent):
    """A CloudEvents 1.0 document in structured JSON mode.

    Its subject, the message's key, is the camera of a judged alert, and the site for a judged group.
    """

    id: str = Field(description="judgement_id: the same event sent twice has the same id")
    subject: Annotated[str, Field(min_length=1)] = Field(description="the alert's camera, or the site for a group")
    type: Literal["mistwatch.judgement"]
    dataschema: Literal["urn:mistwatch:judgement:v1#/$defs/JudgementData"]
    data: JudgementData

    @model_validator(mode="after")
    def _agrees_with_its_data(self) -> JudgementEvent:
        data = self.data
        if (data.about == "alert") != (data.camera is not None):
            raise ValueError("a camera belongs to a judgement of an alert, and only to it")
        expected = (str(data.judgement_id), data.camera or data.site)
        if (self.id, self.subject) != expected:
            raise ValueError(f"id and subject must be {expected}, got {(self.id, self.subject)}")
        if data.verdict != "withdrawn" and not data.exemplars:
            raise ValueError(f"a judgement {data.verdict!r} needs at least one exemplar")
        if data.expires_at is not None and data.expires_at <= data.judged_at:
            raise ValueError("expires_at must be later than judged_at")
        return self

    def published(self, at: datetime) -> JudgementEvent:
        """See :meth:`CloudEvent.published`."""
        return self.model_copy(update={"data": self.data.model_copy(update={"published_at": at.astimezone(UTC)})})


def judgement_event(
    *,
    site: str,
    target: UUID,
    camera: str | None,
    verdict: Literal["normal", "real", "withdrawn"],
    note: str = "",
    judged_at: datetime,
    expires_at: datetime | None,
    similarity: float,
    embedding_version: str,
    exemplars: Sequence[Embedding],
) -> JudgementEvent:
    """Return the event of a verdict.

    Args:
        target: of an alert or a group.
        camera: of the alert; None for a group.
        similarity: rounded to four decimals, as the similarities that it is compared with.
        exemplars: at most 16 of length 1; none for a withdrawn judgement.

    Raises:
        pydantic.ValidationError: the arguments contradict each other.
        ValueError: an exemplar is not an embedding.
    """
    about: Literal["alert", "group"] = "group" if camera is None else "alert"
    name = json.dumps([site, about, str(target), verdict, judged_at.astimezone(UTC).isoformat()])
    identity = uuid5(_JUDGEMENT_NAMESPACE, name)
    data = JudgementData(
        judgement_id=identity,
        site=site,
        about=about,
        target=target,
        camera=camera,
        verdict=verdict,
        note=note,
        judged_at=judged_at,
        expires_at=expires_at,
        similarity=round(similarity, SIMILARITY_DECIMALS),
        embedding_version=embedding_version,
        exemplars=tuple(embedding_text(one) for one in exemplars),
        published_at=None,
    )
    return JudgementEvent(
        specversion="1.0",
        id=str(identity),
        source=source_of(site),
        type=JUDGEMENT_TYPE,
        subject=camera or site,
        time=None,
        datacontenttype="application/json",
        dataschema=DATA_SCHEMA,
        data=data,
    )


def judgement_schema_text() -> str:
    """Return the JSON Schema of a judgement event, as committed in ``schema/judgement.v1.schema.json``."""
    return schema_text_of(JudgementEvent, DATA_SCHEMA)
