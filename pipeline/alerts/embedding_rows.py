"""Embeddings of alerts in one matrix, and the nearest of them."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID

import numpy as np
import numpy.typing as npt

from operators.grouping import Embedding, cosines
from pipeline.alerts.likeness import SIMILARITY_DECIMALS


class EmbeddingRows:
    """A float32 matrix with a row for each alert: 0.5 kB for 128 values. Not thread-safe."""

    def __init__(self) -> None:
        self._rows: dict[UUID, int] = {}
        self._ids: list[UUID | None] = []  # of each row
        self._free: list[int] = []
        self._matrix: Embedding = np.zeros((0, 0), np.float32)
        self._started: npt.NDArray[np.float64] = np.zeros(0)  # POSIX seconds; −∞ where unknown, +∞ in a free row

    def __len__(self) -> int:
        return len(self._rows)

    def fits(self, embedding: Embedding) -> bool:
        """Return whether the embedding has as many values as the first one had."""
        return not len(self._matrix) or self._matrix.shape[1] == len(embedding)

    def put(self, alert: UUID, embedding: Embedding, started_at: datetime | None) -> None:
        """Add an alert or replace its row.

        Args:
            embedding: float32 (D,); see :meth:`fits`.
            started_at: None when unknown.
        """
        if (row := self._rows.get(alert)) is None:
            row = self._rows[alert] = self._free_row(len(embedding))
            self._ids[row] = alert
        self._matrix[row] = embedding
        self._started[row] = -math.inf if started_at is None else started_at.timestamp()

    def remove(self, alert: UUID) -> None:
        """Remove an alert. Raises KeyError: an unknown one."""
        row = self._rows.pop(alert)
        self._ids[row] = None
        self._started[row] = math.inf
        self._free.append(row)

    def of(self, alert: UUID) -> Embedding:
        """Return the embedding of an alert. Raises KeyError: an unknown one."""
        embedding: Embedding = self._matrix[self._rows[alert]].copy()
        return embedding

    def nearest(
        self, embedding: Embedding, count: int, *, without: UUID, before: datetime | None = None
    ) -> list[tuple[UUID, float]]:
        """Return at most ``count`` alerts of a similarity above 0, most similar first, with rounded similarities.

        Args:
            without: an alert that is left out.
            before: alerts that began later are left out; those of unknown times are not.
        """
        if not self._rows:
            return []
        latest = math.inf if before is None else before.timestamp()
        similarities = np.minimum(np.round(cosines(self._matrix, embedding), SIMILARITY_DECIMALS), 1.0)
        similarities[(self._started > latest) | (self._started == math.inf)] = 0.0
        if without in self._rows:
            similarities[self._rows[without]] = 0.0
        least = np.partition(similarities, -count)[-count] if count < len(similarities) else 0.0
        rows = np.flatnonzero((similarities >= least) & (similarities > 0))
        # Equally similar alerts in the order of their ids, so that every worker names the same ones.
        found = [(str(self._ids[row]), self._ids[row], float(similarities[row])) for row in rows]
        found.sort(key=lambda one: (-one[2], one[0]))
        return [(alert, round(value, SIMILARITY_DECIMALS)) for _, alert, value in found[:count] if alert is not None]

    def _free_row(self, dimensions: int) -> int:
        if not self._free:
            held, rows = len(self._ids), max(2 * len(self._ids), 64)
            matrix, started = np.zeros((rows, dimensions), np.float32), np.full(rows, math.inf)
            if held:
                matrix[:held], started[:held] = self._matrix, self._started
            self._matrix, self._started = matrix, started
            self._ids += [None] * (rows - held)
            self._free = list(range(rows - 1, held - 1, -1))
        return self._free.pop()
