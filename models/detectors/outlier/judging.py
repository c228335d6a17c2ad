"""A fitted estimator and the rows that it judges, as one: from a backbone's output to values, higher is stranger.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.detectors.outlier.forest import ForestScorer
from models.detectors.outlier.lof import LofScorer
from models.detectors.outlier.projection import Projection, rows_of
from models.detectors.outlier.svm import SvmScorer


class EstimatorScorer(Protocol):
    """A fitted estimator, without the library that fitted it.

    Attributes:
        offset: score below which a row counts as an outlier.
    """

    offset: float

    def score_samples(self, rows: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return scikit-learn's score of each row, (m, C) → (m,), the lower the stranger."""
        ...

    def strangeness(self, rows: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return a value that falls as the score rises, (m, C) → (m,), finite, higher is stranger."""
        ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by their names."""
        ...


#: The estimators by the names that a recipe has for them.
SCORERS: dict[str, Any] = {"lof": LofScorer, "forest": ForestScorer, "svm": SvmScorer}


class Judge:
    """An estimator behind its projection.

    Args:
        name: of the estimator, a key of :data:`SCORERS`.
        pooled: whether a clip is one row instead of a row for each place.
    """

    def __init__(self, name: str, estimator: EstimatorScorer, projection: Projection, *, pooled: bool) -> None:
        self.name, self.pooled = name, pooled
        self.estimator, self._projection = estimator, projection

    def cells(self, described: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the value of each place of a clip: (C, h, w) → (h, w); pooled, and (C,), → (1, 1)."""
        rows = rows_of(described, pooled=self.pooled)
        values = self.estimator.strangeness(self._projection(rows)).astype(np.float32)
        return values.reshape((1, 1) if len(rows) == 1 else described.shape[1:])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the learned arrays by their names; see :func:`judge_of`."""
        return {**self.estimator.arrays(), **self._projection.arrays()}


def judge_of(name: str, arrays: Mapping[str, npt.NDArray[Any]], *, pooled: bool) -> Judge:
    """Return what :meth:`Judge.arrays` gave, among further arrays. Raises KeyError, ValueError."""
    estimator: EstimatorScorer = SCORERS[name].from_arrays(arrays)
    return Judge(name, estimator, Projection.from_arrays(arrays), pooled=pooled)
