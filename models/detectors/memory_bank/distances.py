"""Distances of patches from the normal ones: from their distribution, or from the nearest remembered one.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Patches = npt.NDArray[np.float32]  #: (n, C), a descriptor each

#: Patches that are compared with the remembered ones at once: 5 MB of products with 5000.
_AT_ONCE = 256
#: Multiplications of a product that OpenBLAS, numpy's library of linear algebra, computes without its threads: fewer
#: than four times 65536 by default. After a larger one they wait for the next in a loop that takes a core.
_WITHOUT_THREADS = 4 * 65536


class Normality(Protocol):
    """The remembered part of normal patches."""

    def distances(self, patches: Patches) -> npt.NDArray[np.float32]:
        """Return the distance of each patch, (n, C) → (n,), from 0."""
        ...

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return it as arrays by their names; see :func:`from_arrays`."""
        ...


class Gaussian:
    """One normal distribution of the patches of all places: the distance is Mahalanobis'.

    Args:
        mean: float32 (C,).
        whitening: float32 (C, C), W with W Wᵀ the inverse of the covariance: the distance is ‖(x − mean) W‖.

    Raises:
        ValueError: arrays of other shapes, or values that are not finite.
    """

    def __init__(self, mean: npt.NDArray[np.float32], whitening: npt.NDArray[np.float32]) -> None:
        if mean.ndim != 1 or whitening.shape != (len(mean), len(mean)):
            raise ValueError(f"expected a mean (C,) and a whitening (C, C), got {mean.shape} and {whitening.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(whitening).all()):
            raise ValueError("mean and whitening must be finite")
        self._mean, self._whitening = mean, whitening

    def distances(self, patches: Patches) -> npt.NDArray[np.float32]:
        """See :class:`Normality`."""
        centred = patches - self._mean
        # In parts that take no threads: 3 instead of 14 ms of processor time a picture of 1350 patches of 152 channels,
        # the wait included (measured once, by hand).
        rows = max(_WITHOUT_THREADS // self._whitening.size, 1)
        whole = len(centred) // rows * rows
        parts = centred[:whole].reshape(-1, rows, len(self._mean)) @ self._whitening
        whitened = np.concatenate([parts.reshape(whole, len(self._mean)), centred[whole:] @ self._whitening])
        found: npt.NDArray[np.float32] = np.linalg.norm(whitened, axis=1)
        return found

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`Normality`."""
        return {"mean": self._mean, "whitening": self._whitening}


class Neighbours:
    """Remembered patches: the distance is that from the nearest one, found exactly.

    Of a few thousand it takes one product of matrices, so no index is needed.

    Args:
        bank: float32 (M, C).

    Raises:
        ValueError: an array of another shape, or values that are not finite.
    """

    def __init__(self, bank: Patches) -> None:
        if bank.ndim != 2 or not len(bank) or not np.isfinite(bank).all():
            raise ValueError(f"expected remembered patches (M, C), finite, got {bank.shape}")
        self._bank = bank
        # ‖x − b‖² = ‖x‖² − 2 (x · b − ‖b‖² / 2): the nearest has the highest bracket. Around the mean of the bank,
        # since differences of large squares would lose their digits. The halves are one more row of the product.
        self._centre: npt.NDArray[np.float32] = bank.mean(axis=0)
        centred = bank - self._centre
        halves = (centred * centred).sum(axis=1) / np.float32(2)
        self._across: npt.NDArray[np.float32] = np.concatenate([centred.T, -halves[None]])

    def distances(self, patches: Patches) -> npt.NDArray[np.float32]:
        """See :class:`Normality`."""
        centred = patches - self._centre
        given = np.pad(centred, ((0, 0), (0, 1)), constant_values=1)
        # In parts that stay in the processor's cache: 23 instead of 33 ms a picture of 1350 patches against 5000
        # (measured once, by hand).
        parts = [(given[at : at + _AT_ONCE] @ self._across).max(axis=1) for at in range(0, len(given), _AT_ONCE)]
        highest = np.concatenate(parts)
        squares = (centred * centred).sum(axis=1) - 2 * highest
        found: npt.NDArray[np.float32] = np.sqrt(np.maximum(squares, 0))
        return found

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`Normality`."""
        return {"bank": self._bank}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Normality:
    """Return what :meth:`Normality.arrays` gave, among further arrays.

    Raises:
        KeyError, ValueError: arrays are missing or cannot be.
    """
    if "bank" in arrays:
        return Neighbours(arrays["bank"])
    return Gaussian(arrays["mean"], arrays["whitening"])


def cell_distances(normality: Normality, descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the distance of each cell of a picture: (C, h, w) → (h, w)."""
    channels, height, width = descriptors.shape
    patches = np.ascontiguousarray(descriptors.reshape(channels, -1).T)
    return normality.distances(patches).reshape(height, width)
