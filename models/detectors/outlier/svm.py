"""Scores of a one-class support vector machine with a radial basis function.

B. Schölkopf et al., Estimating the support of a high-dimensional distribution, Neural Computation 13, 2001. With the
support vectors v and their weights a::

    score(x)    = sum of a exp(−γ ‖x − v‖²)
    decision(x) = score(x) − ρ

as in scikit-learn, whose ``intercept_`` is −ρ and whose ``offset_`` is ρ: below 0 for an outlier.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.floating[Any]]  #: (n, C)

#: Rows that are compared with the support vectors at once: 2 MB of products with 2500.
_AT_ONCE = 128


class SvmScorer:
    """A fitted one-class SVM.

    Args:
        vectors: float32 or float64 (n, C), the support vectors.
        weights: float64 (n,), above 0, their dual coefficients.
        gamma: γ, from 0.
        offset: ρ.

    Raises:
        ValueError: arrays of other shapes, or values that are not finite.
    """

    def __init__(self, vectors: Rows, weights: npt.NDArray[np.float64], *, gamma: float, offset: float) -> None:
        if vectors.ndim != 2 or not len(vectors) or weights.shape != (len(vectors),):
            raise ValueError(f"expected vectors (n, C) and weights (n,), got {vectors.shape} and {weights.shape}")
        if not (np.isfinite(vectors).all() and np.isfinite(weights).all() and np.isfinite([gamma, offset]).all()):
            raise ValueError("vectors, weights, gamma and offset must be finite")
        if gamma < 0 or not (weights > 0).all():
            raise ValueError(f"gamma must be at least 0 and weights above 0, got {gamma:g} and {weights.min():g}")
        self._vectors, self._weights, self._gamma, self.offset = vectors, weights, gamma, offset
        # Around the mean, since differences of large squares lose their digits. In double precision: a score is a sum
        # of thousands of terms, and the square is scaled by γ before its exponential is taken.
        self._centre = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - self._centre
        # −γ ‖x − v‖² as one product: columns of 2γ v, −γ ‖v‖² and 1.
        lengths = (centred * centred).sum(axis=1)
        self._across = np.concatenate([2 * gamma * centred.T, -gamma * lengths[None], np.ones((1, len(vectors)))])

    def score_samples(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the score of each row, (m, C) → (m,), the lower the stranger."""
        parts = [np.exp(exponents) @ self._weights for exponents in self._exponents(rows)]
        return np.concatenate(parts) if parts else np.empty(0)

    def decision_function(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the scores above ρ, (m, C) → (m,): below 0 for an outlier."""
        return self.score_samples(rows) - self.offset

    def strangeness(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return −ln(score / ρ), (m, C) → (m,), above 0 for an outlier, higher is stranger.

        Far from all support vectors the score is 0 but for what a float can hold. Its logarithm still grows with the
        distance.
        """
        parts = []
        for exponents in self._exponents(rows):
            highest = exponents.max(axis=1)
            parts.append(highest + np.log(np.exp(exponents - highest[:, None]) @ self._weights))
        logarithms = np.concatenate(parts) if parts else np.empty(0)
        # ρ is 0 where no vector lies inside, and then the score alone gives the order.
        found: npt.NDArray[np.float64] = (np.log(self.offset) if self.offset > 0 else 0.0) - logarithms
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by their names; see :meth:`from_arrays`."""
        return {
            "vectors": self._vectors,
            "weights": self._weights,
            "gamma": np.array(self._gamma, np.float64),
            "offset": np.array(self.offset, np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SvmScorer:
        """Return what :meth:`arrays` gave, among further arrays. Raises KeyError, ValueError."""
        return cls(arrays["vectors"], arrays["weights"], gamma=float(arrays["gamma"]), offset=float(arrays["offset"]))

    def _exponents(self, rows: Rows) -> Iterator[npt.NDArray[np.float64]]:
        """Yield −γ ‖x − v‖² of some rows after another, (m, n)."""
        for at in range(0, len(rows), _AT_ONCE):
            centred = rows[at : at + _AT_ONCE] - self._centre
            lengths = (centred * centred).sum(axis=1)
            given = np.concatenate([centred, np.ones((len(centred), 1)), -self._gamma * lengths[:, None]], axis=1)
            # A difference of large terms may end a little above 0, which no distance has.
            yield np.minimum(given @ self._across, 0.0)
