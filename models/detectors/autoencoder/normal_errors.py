"""From the maps of reconstruction errors to one map of strangeness, by what they are on normal footage.

Each map e is normalised by its mean μ and spread σ over normal footage, so that the two kinds can be averaged:

    strangeness = mean over the kinds of (e − μ) / σ

Before a camera that stands still, some places are reconstructed permanently worse than others: foliage, a fence. So μ
and σ may also be those of each place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Maps = npt.NDArray[np.float32]

#: Least spread of a map, for a camera at which nothing changes.
_LEAST_SPREAD = 1e-3
#: The spread of a place reaches from the median to this quantile, so that a few per cent of incidents do not widen it.
#: This share of the spread over all places is added, for places that nothing has passed yet. Both are those of
#: student–teacher detectors, chosen there on normal footage.
_HIGH, _SHARED = 0.95, 0.5


@dataclass(frozen=True, slots=True)
class NormalErrors:
    """Normal footage, as far as strangeness needs it.

    Attributes:
        centre, spread: float32 (K, 1, 1) for K kinds of errors, or (K, h, w), of each place. The spread is above 0.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a spread that is not above 0.
    """

    centre: Maps
    spread: Maps

    def __post_init__(self) -> None:
        if self.centre.ndim != 3 or self.centre.shape != self.spread.shape:
            raise ValueError(f"centre and spread must be (K, h, w), got {self.centre.shape} and {self.spread.shape}")
        if not (np.isfinite(self.centre).all() and np.isfinite(self.spread).all() and (self.spread > 0).all()):
            raise ValueError("centre and spread must be finite, and the spread above 0")

    def strangeness(self, errors: Maps) -> Maps:
        """Return the map: float32 (n, K, h, w) → (n, h, w), or of one picture without the first axis.

        Raises:
            ValueError: maps of another number of kinds, or of another size.
        """
        kinds, *places = self.centre.shape
        if errors.shape[-3] != kinds or tuple(places) not in ((1, 1), errors.shape[-2:]):
            raise ValueError(f"expected maps that suit {self.centre.shape}, got shape {errors.shape}")
        strange: Maps = ((errors - self.centre) / self.spread).mean(axis=-3, dtype=np.float32)
        return strange


def fit_normal(errors: Maps, *, by_place: bool) -> NormalErrors:
    """Return what is normal.

    Args:
        errors: of normal footage, (n, K, h, w).
        by_place: whether centre and spread are those of each place; else of all of them together.
    """
    spread = errors.std(axis=(0, 2, 3), dtype=np.float64, keepdims=True)[0]
    if by_place:
        centre, high = np.quantile(errors, (0.5, _HIGH), axis=0)
        spread = high - centre + _SHARED * spread
    else:
        centre = errors.mean(axis=(0, 2, 3), dtype=np.float64, keepdims=True)[0]
    return NormalErrors(centre.astype(np.float32), np.maximum(spread, _LEAST_SPREAD).astype(np.float32))
