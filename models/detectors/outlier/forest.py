"""Scores of an isolation forest: how few random cuts separate a row from the others.

F. T. Liu, K. M. Ting, Z.-H. Zhou, Isolation forest, ICDM 2008. With h(x) the depth of the leaf that a row reaches, plus
the mean path c(n) of the n rows that were left in the leaf unseparated::

    score(x) = − 2^(− mean of h(x) over the trees / c(rows of a tree))
    c(n)     = 2 (ln(n − 1) + γ) − 2 (n − 1) / n,   c(2) = 1,   c(1) = 0

as in scikit-learn: from −1, the strangest, to 0.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.floating[Any]]  #: (n, C)

#: Trees that are walked at once: the paths of 1350 rows through them stay in the processor's cache.
_AT_ONCE = 10


def mean_path(rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return c(n), the mean length of an unsuccessful search in a tree of n rows, for each n.

    >>> mean_path([0, 1, 2, 3]).round(4).tolist()
    [0.0, 0.0, 1.0, 1.2074]
    """
    n = np.asarray(rows, np.float64)
    many = np.maximum(n, 3)
    path = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    found: npt.NDArray[np.float64] = np.where(n > 2, path, np.where(n == 2, 1.0, 0.0))
    return found


class ForestScorer:
    """A fitted isolation forest, its trees flattened into arrays of nodes, one tree after another.

    Args:
        splits: int32 (n,), the column that a node compares; below 0 in a leaf.
        thresholds: float64 (n,); a row goes left where its value, as float32, is not above it.
        children: int32 (n, 2), left and right, counted from the first node of all trees; unused in a leaf.
        sizes: int32 (n,), rows of the training set that reached a node.
        roots: int32 (t,), the first node of each tree.
        rows_of_tree: rows that each tree was grown from, at most.
        columns: C.
        offset: score below which a row counts as an outlier.

    Raises:
        ValueError: arrays of other shapes, values that are not finite, or nodes that are not those of trees.
    """

    def __init__(
        self,
        splits: npt.NDArray[np.int32],
        thresholds: npt.NDArray[np.float64],
        children: npt.NDArray[np.int32],
        sizes: npt.NDArray[np.int32],
        roots: npt.NDArray[np.int32],
        *,
        rows_of_tree: int,
        columns: int,
        offset: float,
    ) -> None:
        nodes = len(splits)
        if not (splits.shape == thresholds.shape == sizes.shape == (nodes,) and children.shape == (nodes, 2)):
            raise ValueError(
                "expected splits, thresholds and sizes (n,) and children (n, 2), got "
                f"{splits.shape}, {thresholds.shape}, {sizes.shape} and {children.shape}"
            )
        inner = splits >= 0
        if not np.isfinite(thresholds[inner]).all() or not (splits < columns).all():
            raise ValueError(f"expected finite thresholds and splits below {columns}")
        at = np.arange(nodes)[:, None]
        # Children lie behind their node, so every walk ends.
        if not ((children > at) & (children < nodes))[inner].all() or not ((roots >= 0) & (roots < nodes)).all():
            raise ValueError("expected children behind their node, and roots among the nodes")
        if not len(roots) or rows_of_tree < 1:
            raise ValueError(f"expected trees of at least 1 row, got {len(roots)} trees of {rows_of_tree}")
        self._given: dict[str, npt.NDArray[Any]] = {
            "splits": splits,
            "thresholds": thresholds,
            "children": children,
            "sizes": sizes,
            "roots": roots,
        }
        self._rows_of_tree, self._columns, self.offset = rows_of_tree, columns, offset
        self._feature = np.where(inner, splits, 0).astype(np.int32)
        # x ≤ t for a float32 x is x ≤ t rounded down to float32.
        rounded = thresholds.astype(np.float32)
        self._threshold = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
        # A leaf leads to itself, so that rows in leaves wait for the others.
        self._next = np.where(inner[:, None], children, at).astype(np.int32).reshape(-1)
        depths = np.zeros(nodes, np.int64)
        for node in np.flatnonzero(inner):
            depths[children[node]] = depths[node] + 1
        self._path = depths + mean_path(sizes)
        self._deepest = [int(depths[part].max()) for part in np.split(np.arange(nodes), roots[1:])]

    def score_samples(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the score of each row, (m, C) → (m,), the lower the stranger.

        Raises:
            ValueError: rows of another width.
        """
        if rows.ndim != 2 or rows.shape[1] != self._columns:
            raise ValueError(f"expected rows (m, {self._columns}), got {rows.shape}")
        given = np.ascontiguousarray(rows, np.float32).reshape(-1)
        starts = (self._columns * np.arange(len(rows), dtype=np.int32))[None]
        paths = np.zeros(len(rows))
        roots = self._given["roots"]
        for first in range(0, len(roots), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            node = np.repeat(roots[some, None], len(rows), axis=1)
            for _ in range(max(self._deepest[some])):
                above = given[starts + self._feature[node]] > self._threshold[node]
                node = self._next[2 * node + above]
            paths += self._path[node].sum(axis=0)
        if not (usual := float(mean_path(self._rows_of_tree))):
            return np.full(len(rows), -0.5)
        found: npt.NDArray[np.float64] = -(2.0 ** (-paths / (len(roots) * usual)))
        return found

    def decision_function(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the scores above the offset, (m, C) → (m,): below 0 for an outlier."""
        return self.score_samples(rows) - self.offset

    def strangeness(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the paper's anomaly score, (m, C) → (m,), from 0 to 1, higher is stranger."""
        return -self.score_samples(rows)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by their names; see :meth:`from_arrays`."""
        return {
            **self._given,
            "rows_of_tree": np.array(self._rows_of_tree, np.int32),
            "columns": np.array(self._columns, np.int32),
            "offset": np.array(self.offset, np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ForestScorer:
        """Return what :meth:`arrays` gave, among further arrays. Raises KeyError, ValueError."""
        return cls(
            arrays["splits"],
            arrays["thresholds"],
            arrays["children"],
            arrays["sizes"],
            arrays["roots"],
            rows_of_tree=int(arrays["rows_of_tree"]),
            columns=int(arrays["columns"]),
            offset=float(arrays["offset"]),
        )
