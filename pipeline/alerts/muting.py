"""The judgements of a site, and the alerts that they mute.

The nearest judged exemplar decides. An alert is muted if its similarity to an exemplar of a judgement *normal* is at
least that judgement's threshold, and no exemplar of a judgement *real* is as near or nearer. Judgements that are
withdrawn, expired, or of another embedding version do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from operators.grouping import Embedding, cosines
from pipeline.alerts.judgement import JudgementData
from pipeline.alerts.likeness import SIMILARITY_DECIMALS, MutedBecause, embedding_from

About = Literal["alert", "group"]


class Judgements:
    """The latest judgement of each target. Not thread-safe.

    Args:
        embedding_version: of the alerts; judgements of another one are kept, and do nothing.
        most: judgements that are kept. Beyond it, one that does nothing is dropped, else the oldest.
    """

    def __init__(self, embedding_version: str, *, most: int = 2000) -> None:
        self._version = embedding_version
        self._most = most
        self._latest: dict[tuple[About, UUID], JudgementData] = {}
        self._exemplars: _Exemplars | None = None  # made when it is needed

    def __len__(self) -> int:
        return len(self._latest)

    def __contains__(self, data: JudgementData) -> bool:
        return self._latest.get((data.about, data.target)) == data

    def __iter__(self) -> Iterator[JudgementData]:
        return iter(self._latest.values())

    def add(self, data: JudgementData, now: datetime) -> list[JudgementData]:
        """Take a judgement, unless a later one of its target is known; return those that are no longer needed.

        Args:
            now: UTC; decides which ones do nothing, where there are too many.
        """
        target = (data.about, data.target)
        known = self._latest.get(target)
        if known is not None and not data.replaces(known):
            return []
        self._latest[target] = data
        self._exemplars = None
        dropped = [] if known is None else [known]
        if len(self._latest) > self._most:
            least = min(self._latest.values(), key=lambda one: (one.in_force(now), one.judged_at, one.judgement_id))
            dropped.append(self._latest.pop((least.about, least.target)))
        return dropped

    def in_force(self, about: About, target: UUID, now: datetime) -> JudgementData | None:
        """Return the judgement of an alert or a group that is in force, None if there is none."""
        data = self._latest.get((about, target))
        return data if data is not None and self._counts(data, now) else None

    def mute(self, embedding: Embedding, now: datetime) -> MutedBecause | None:
        """Return the judgement that mutes an alert with this embedding, None if none does."""
        if self._exemplars is None or self._exemplars.dimensions != len(embedding):
            self._exemplars = _Exemplars.of(
                [one for one in self._latest.values() if one.embedding_version == self._version], len(embedding)
            )
        judged = self._exemplars
        if not len(judged.rows):
            return None
        counts = np.array([self._counts(one, now) for one in judged.judgements])[judged.owner]
        similarities = similarity_to(judged.rows, embedding)
        real = similarities[counts & ~judged.normal].max(initial=-1.0)
        candidates = counts & judged.normal & (similarities >= judged.least) & (similarities > real)
        if not candidates.any():
            return None
        best = int(np.argmax(np.where(candidates, similarities, -np.inf)))
        decisive = judged.judgements[judged.owner[best]]
        return MutedBecause(judgement=decisive.judgement_id, similarity=float(similarities[best]), note=decisive.note)

    def _counts(self, data: JudgementData, now: datetime) -> bool:
        return data.embedding_version == self._version and data.in_force(now)


def similarity_to(rows: Embedding, embedding: Embedding) -> npt.NDArray[np.float64]:
    """Return the cosine similarity of each row to an embedding, (n,), as rounded as in a document.

    Rounded, so that an alert of just the threshold is muted whatever the order of the summation was.
    """
    return np.minimum(np.round(cosines(rows, embedding).astype(np.float64), SIMILARITY_DECIMALS), 1.0)


@dataclass(frozen=True, slots=True)
class _Exemplars:
    """All exemplars of the judgements.

    Attributes:
        rows: float32 (n, D).
        owner: int (n,), the judgement of each row.
        normal: bool (n,), its verdict.
        least: float64 (n,), its threshold.
    """

    judgements: list[JudgementData]
    rows: Embedding
    owner: npt.NDArray[np.int64]
    normal: npt.NDArray[np.bool_]
    least: npt.NDArray[np.float64]
    dimensions: int

    @classmethod
    def of(cls, judgements: list[JudgementData], dimensions: int) -> _Exemplars:
        """Collect exemplars; those that have not ``dimensions`` values are left out."""
        rows: list[Embedding] = []
        owner: list[int] = []
        for number, data in enumerate(judgements):
            for embedding in map(embedding_from, data.exemplars):
                if len(embedding) == dimensions:
                    rows.append(embedding)
                    owner.append(number)
        owners = np.array(owner, np.int64)
        return cls(
            judgements,
            np.array(rows, np.float32).reshape(-1, dimensions),
            owners,
            np.array([one.verdict == "normal" for one in judgements], bool)[owners],
            np.array([one.similarity for one in judgements], np.float64)[owners],
            dimensions,
        )
