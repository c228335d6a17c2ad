"""Scores of a local outlier factor: how much sparser a row's surroundings are than those of its neighbours.

M. M. Breunig et al., LOF: Identifying density-based local outliers, SIGMOD 2000. With the k nearest rows o of the
training set, and d_k(o) the distance from o to its own k-th neighbour::

    reach(x, o) = max(d_k(o), d(x, o))
    density(x)  = 1 / (mean of reach(x, o) over the k neighbours + 1e-10)
    score(x)    = − mean of density(o) over the k neighbours / density(x)

as in scikit-learn: about −1 where a row is as dense as its neighbours, lower where it is an outlier.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.floating[Any]]  #: (n, C)

#: Rows that are compared with the training set at once: 1 MB of products with 5000.
_AT_ONCE = 64
#: Columns of these products that are reduced to their best one before any is sorted.
_FOLD = 10
#: Further candidates beside the k nearest by the products, which are rounded.
_SPARE = 8
_LEAST_REACH = 1e-10  #: scikit-learn's, which keeps the density of many equal rows finite


class LofScorer:
    """A fitted local outlier factor.

    Args:
        sample: float32 or float64 (n, C), the training set.
        reach: (n,), the distance from each of its rows to the row's k-th neighbour.
        densities: (n,), local reachability densities.
        neighbours: k, from 1 to n.
        offset: score below which a row counts as an outlier.

    Raises:
        ValueError: arrays of other shapes, values that are not finite, or a k that cannot be.
    """

    def __init__(
        self,
        sample: Rows,
        reach: npt.NDArray[np.floating[Any]],
        densities: npt.NDArray[np.floating[Any]],
        *,
        neighbours: int,
        offset: float,
    ) -> None:
        if sample.ndim != 2 or not len(sample) or not reach.shape == densities.shape == (len(sample),):
            raise ValueError(
                f"expected a sample (n, C), its reach (n,) and densities (n,), got {sample.shape}, {reach.shape} and "
                f"{densities.shape}"
            )
        if not all(np.isfinite(array).all() for array in (sample, reach, densities)):
            raise ValueError("sample, reach and densities must be finite")
        if not 1 <= neighbours <= len(sample):
            raise ValueError(f"neighbours must be 1 to the {len(sample)} rows of the sample, got {neighbours}")
        self._sample, self._reach, self._densities = sample, reach, densities
        self.neighbours, self.offset = neighbours, offset
        # ‖x − b‖² = ‖x‖² − 2 (x · b − ‖b‖² / 2): the nearest have the highest brackets. Around the mean, since
        # differences of large squares would lose their digits. The halves are one more row of the product.
        self._centre = sample.mean(axis=0, dtype=np.float64)
        centred = sample - self._centre
        squares = (centred * centred).sum(axis=1)
        self._longest = float(np.sqrt(squares.max()))
        self._folded = -(-len(sample) // _FOLD)
        # Columns that fill the last fold are never chosen: their half is the highest of float32.
        across = np.zeros((sample.shape[1] + 1, _FOLD * self._folded))
        across[-1] = np.finfo(np.float32).max / -2
        across[:-1, : len(sample)], across[-1, : len(sample)] = centred.T, -squares / 2
        self._across, self._rounded = across, across.astype(np.float32)

    def score_samples(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the score of each row, (m, C) → (m,), the lower the stranger."""
        parts = [self._scores(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0)

    def decision_function(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the scores above the offset, (m, C) → (m,): below 0 for an outlier."""
        return self.score_samples(rows) - self.offset

    def strangeness(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the logarithm of the outlier factor, (m, C) → (m,), higher is stranger.

        The factor is a ratio of densities, and has no bound. Without the logarithm, one cell would decide the mean of
        a picture's highest ones.
        """
        return np.log(-self.score_samples(rows))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by their names; see :meth:`from_arrays`."""
        return {
            "sample": self._sample,
            "reach": self._reach,
            "densities": self._densities,
            "neighbours": np.array(self.neighbours, np.int32),
            "offset": np.array(self.offset, np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> LofScorer:
        """Return what :meth:`arrays` gave, among further arrays. Raises KeyError, ValueError."""
        return cls(
            arrays["sample"],
            arrays["reach"],
            arrays["densities"],
            neighbours=int(arrays["neighbours"]),
            offset=float(arrays["offset"]),
        )

    def _scores(self, rows: Rows) -> npt.NDArray[np.float64]:
        nearest, distances = self._nearest(rows)
        reach = np.maximum(self._reach[nearest], distances)
        density = 1 / (reach.mean(axis=1, dtype=np.float64) + _LEAST_REACH)
        found: npt.NDArray[np.float64] = -self._densities[nearest].mean(axis=1, dtype=np.float64) / density
        return found

    def _nearest(self, rows: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the ordinals of the k nearest rows of the sample, (m, k), and their distances from the nearest on.

        Products of float32 find them twice as fast as those of float64. Where the error of these products could hide a
        nearer row, those of float64 find them.
        """
        nearest, distances, beyond = self._found_by(self._rounded, rows)
        doubtful = distances[:, -1] ** 2 > beyond
        if doubtful.any():
            nearest[doubtful], distances[doubtful], _ = self._found_by(self._across, rows[doubtful])
        return nearest, distances

    def _found_by(
        self, across: npt.NDArray[Any], rows: Rows
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the k nearest rows by products, their distances by differences, and the least square of the others."""
        many = min(self.neighbours + _SPARE, len(self._sample))
        centred = rows - self._centre
        given = np.ones((len(rows), len(across)), across.dtype)
        given[:, :-1] = centred
        chosen, rest = self._highest(given @ across, many)
        distances = self._distances(rows, chosen)
        order = np.argsort(distances, axis=1, kind="stable")[:, : self.neighbours]
        lengths = np.linalg.norm(centred, axis=1)
        # The error of a product of C + 1 terms, at most (N. J. Higham, Accuracy and stability of numerical algorithms,
        # 2002, section 3.1), with twice the terms, since the factors are rounded too.
        error = np.finfo(across.dtype).eps * 2 * len(across) * (lengths + self._longest) ** 2
        beyond = lengths**2 - 2 * rest - 2 * error
        return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(distances, order, axis=1), beyond

    def _highest(self, products: npt.NDArray[Any], many: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the columns of the highest products, (m, many), and the highest of the others, (m,).

        Without a sort of all columns: no product of a fold is above the fold's best.
        """
        if many == len(self._sample):
            return np.tile(np.arange(many), (len(products), 1)), np.full(len(products), -np.inf)
        if many >= self._folded:  # too few folds to leave any out
            return _partitioned(products, many)
        folds, beyond = _partitioned(products.reshape(len(products), _FOLD, self._folded).max(axis=1), many)
        columns = (folds[:, None] + self._folded * np.arange(_FOLD)[:, None]).reshape(len(products), -1)
        places, rest = _partitioned(np.take_along_axis(products, columns, axis=1), many)
        return np.take_along_axis(columns, places, axis=1), np.maximum(rest, beyond)

    def _distances(self, rows: Rows, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the distances of rows (m, C) from rows of the sample, (m, k) → float64 (m, k)."""
        differences = self._sample[columns] - rows[:, None]
        squares = np.einsum("mkc,mkc->mk", differences, differences, dtype=np.float64)
        found: npt.NDArray[np.float64] = np.sqrt(squares)
        return found


def _partitioned(values: npt.NDArray[Any], many: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the columns of the highest values of each row, (m, many), and the highest of the others, (m,)."""
    order = np.argpartition(values, -many - 1, axis=1)[:, -many - 1 :]
    rest = np.take_along_axis(values, order[:, :1], axis=1)[:, 0]
    return order[:, 1:], rest.astype(np.float64)
