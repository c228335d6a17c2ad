"""From the maps of an ensemble to one map of strangeness, by what they are on normal footage.

The regression error e and the predictive variance v of each receptive field are normalised by their mean μ and spread σ
over held-back normal footage, summed, and averaged over the receptive fields (P. Bergmann et al., Uninformed Students,
CVPR 2020, equations 8 to 11):

    strangeness = mean over the receptive fields of (e − μe) / σe + (v − μv) / σv

With speed, what moves faster than the students predict counts in addition: max(0, speed − prediction). Strangeness and
speed are each divided by the spread of their pictures' values, so that neither drowns the other.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.cells import picture_value

Maps = npt.NDArray[np.float32]

#: Least spread of a map or of the values of pictures, for a camera at which nothing changes.
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class RawMaps:
    """Maps of n pictures, or of one without the first axis.

    Attributes:
        errors, variances: float32 (n, S, h, w).
        faster: how much faster things move than predicted, pixels a gap, at least 0; float32 (n, h, w), None without
            speed.
    """

    errors: Maps
    variances: Maps
    faster: Maps | None = None


@dataclass(frozen=True, slots=True)
class NormalMaps:
    """Normal footage, as far as strangeness needs it.

    Attributes:
        centre, spread: float32 (2, S), of errors and of variances; spread above 0.
        weights: float32 (2,), of errors and of variances; 1 or 0.
        units: float32 (2,), above 0: of strangeness, and of what is faster than predicted. (1, 1) without speed.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a spread or unit that is not above 0.
    """

    centre: Maps
    spread: Maps
    weights: Maps
    units: Maps

    def __post_init__(self) -> None:
        if self.centre.ndim != 2 or len(self.centre) != 2 or self.centre.shape != self.spread.shape:
            raise ValueError(f"centre and spread must be (2, S), got {self.centre.shape} and {self.spread.shape}")
        if self.weights.shape != (2,) or self.units.shape != (2,):
            raise ValueError(f"weights and units must be (2,), got {self.weights.shape} and {self.units.shape}")
        for name in ("centre", "spread", "weights", "units"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite")
        if not ((self.spread > 0).all() and (self.units > 0).all()):
            raise ValueError("spread and units must be above 0")

    def strangeness(self, maps: RawMaps) -> Maps:
        """Return the map, float32 (n, h, w), or (h, w) of one picture.

        Raises:
            ValueError: maps of another number of receptive fields.
        """
        found: Maps = self._paper(maps) / self.units[0]
        if maps.faster is not None:
            found = found + maps.faster / self.units[1]
        return found

    def _paper(self, maps: RawMaps) -> Maps:
        found = np.zeros((), np.float32)
        for ordinal, values in enumerate((maps.errors, maps.variances)):
            if values.shape[-3] != self.centre.shape[1]:
                raise ValueError(f"expected maps of {self.centre.shape[1]} receptive fields, got shape {values.shape}")
            centre, spread = self.centre[ordinal][:, None, None], self.spread[ordinal][:, None, None]
            found = found + self.weights[ordinal] * ((values - centre) / spread).mean(axis=-3)
        strange: Maps = found.astype(np.float32)
        return strange


def fit_normal(held_back: RawMaps, *, error: bool = True, variance: bool = True) -> NormalMaps:
    """Return what is normal by maps of held-back normal footage.

    Args:
        error, variance: whether the map counts.

    Raises:
        ValueError: neither counts.
    """
    if not (error or variance):
        raise ValueError("expected the error, the variance or both")
    both = held_back.errors, held_back.variances
    centre = np.stack([values.mean(axis=(0, 2, 3), dtype=np.float64) for values in both]).astype(np.float32)
    spread = np.stack([values.std(axis=(0, 2, 3), dtype=np.float64) for values in both]).astype(np.float32)
    weights = np.array([error, variance], np.float32)
    plain = NormalMaps(centre, np.maximum(spread, np.float32(_LEAST_SPREAD)), weights, np.ones(2, np.float32))
    if held_back.faster is None:
        return plain
    spreads = [picture_value(found).std() for found in (plain.strangeness(_without_speed(held_back)), held_back.faster)]
    units = np.maximum(np.array(spreads, np.float32), np.float32(_LEAST_SPREAD))
    return NormalMaps(plain.centre, plain.spread, weights, units)


def _without_speed(maps: RawMaps) -> RawMaps:
    return RawMaps(maps.errors, maps.variances)
