"""Rows of an estimator, made from what a backbone gives: cells or pooled vectors, on the main axes of a sample.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]  #: (n, C)


class Projection:
    """The projection of rows on main axes (principal component analysis), or none.

    Args:
        mean: float32 (C,); None: rows stay as they are.
        axes: float32 (C, kept).

    Raises:
        ValueError: arrays of other shapes, or values that are not finite.
    """

    def __init__(
        self, mean: npt.NDArray[np.float32] | None = None, axes: npt.NDArray[np.float32] | None = None
    ) -> None:
        if (mean is None) != (axes is None):
            raise ValueError("expected a mean and axes, or neither")
        if mean is not None and axes is not None:
            if mean.ndim != 1 or axes.ndim != 2 or len(axes) != len(mean):
                raise ValueError(f"expected a mean (C,) and axes (C, kept), got {mean.shape} and {axes.shape}")
            if not (np.isfinite(mean).all() and np.isfinite(axes).all()):
                raise ValueError("mean and axes must be finite")
        self._mean, self._axes = mean, axes

    def __call__(self, rows: Rows) -> Rows:
        """Return the projected rows, (n, C) → (n, kept)."""
        if self._mean is None or self._axes is None:
            return rows
        projected: Rows = ((rows - self._mean) @ self._axes).astype(np.float32, copy=False)
        return projected

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by their names, none for no projection; see :meth:`from_arrays`."""
        return {} if self._mean is None or self._axes is None else {"mean": self._mean, "axes": self._axes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Projection:
        """Return what :meth:`arrays` gave, among further arrays. Raises ValueError."""
        return cls(arrays.get("mean"), arrays.get("axes"))


def rows_of(described: npt.NDArray[np.float32], *, pooled: bool) -> Rows:
    """Return the rows of one clip.

    Args:
        described: what a backbone gives for it: (C, h, w), or pooled already (C,).

    Returns:
        (h · w, C), the cells line by line, or (1, C).
    """
    if described.ndim == 1:
        return described[None]
    if pooled:
        mean: Rows = described.mean(axis=(1, 2))
        return mean[None]
    return np.ascontiguousarray(described.reshape(len(described), -1).T)
