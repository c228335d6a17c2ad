"""From the maps of an ensemble to one map of strangeness, by what they are on normal footage.

The regression error e and the predictive variance v of each receptive field are normalised by their mean μ and spread σ
over held-back normal footage, summed, and averaged over the receptive fields (P. Bergmann et al., Uninformed Students,
CVPR 2020, equations 8 to 11):

    strangeness = mean over the receptive fields of (e − μe) / σe + (v − μv) / σv

That is the paper's form, for pictures of things that lie anywhere. Before a camera that stands still, some places are
described permanently worse than others: foliage, a fence. So μ and σ may also be those of each place.

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
#: The spread of a place reaches from the median to this quantile, so that a few per cent of incidents do not widen it.
#: This share of the spread over all places is added, for places that nothing has passed yet. Both were chosen on the
#: normal videos of Ped2 alone, by how well held-back pictures are separated from the same ones with a thing of another
#: film pasted in: AUC 0.91, with the paper's form 0.77 (by hand).
_HIGH, _SHARED = 0.95, 0.5


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
        centre, spread: float32 (2, S, 1, 1), of errors and of variances, or (2, S, h, w), of each place. The spread is
            above 0.
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
        if self.centre.ndim != 4 or len(self.centre) != 2 or self.centre.shape != self.spread.shape:
            raise ValueError(f"centre and spread must be (2, S, h, w), got {self.centre.shape} and {self.spread.shape}")
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
            places = self.centre.shape[2:]
            if values.shape[-3] != self.centre.shape[1] or places not in ((1, 1), values.shape[-2:]):
                raise ValueError(f"expected maps that suit {self.centre.shape[1:]}, got shape {values.shape}")
            normalised = (values - self.centre[ordinal]) / self.spread[ordinal]
            found = found + self.weights[ordinal] * normalised.mean(axis=-3)
        strange: Maps = found.astype(np.float32)
        return strange


def fit_normal(
    held_back: RawMaps, learned: RawMaps | None = None, *, error: bool = True, variance: bool = True
) -> NormalMaps:
    """Return what is normal.

    Args:
        held_back: maps of normal footage that was not learned from.
        learned: maps of footage that was; centre and spread are then those of each place of these. None for the paper's
            form, of all places of what is held back.
        error, variance: whether the map counts.

    Raises:
        ValueError: neither counts.
    """
    if not (error or variance):
        raise ValueError("expected the error, the variance or both")
    both = (held_back.errors, held_back.variances)
    centre, spread = _over_all(both) if learned is None else _by_place((learned.errors, learned.variances))
    spread = np.maximum(spread, np.float32(_LEAST_SPREAD))
    plain = NormalMaps(centre, spread, np.array([error, variance], np.float32), np.ones(2, np.float32))
    if held_back.faster is None:
        return plain
    strange = plain.strangeness(RawMaps(*both))
    spreads = [picture_value(found).std() for found in (strange, held_back.faster)]
    units = np.maximum(np.array(spreads, np.float32), np.float32(_LEAST_SPREAD))
    return NormalMaps(plain.centre, plain.spread, plain.weights, units)


def _over_all(both: tuple[Maps, Maps]) -> tuple[Maps, Maps]:
    """Return mean and spread of each receptive field, (2, S, 1, 1)."""
    centre = [values.mean(axis=(0, 2, 3), dtype=np.float64, keepdims=True)[0] for values in both]
    spread = [values.std(axis=(0, 2, 3), dtype=np.float64, keepdims=True)[0] for values in both]
    return np.stack(centre).astype(np.float32), np.stack(spread).astype(np.float32)


def _by_place(both: tuple[Maps, Maps]) -> tuple[Maps, Maps]:
    """Return median and spread of each place, (2, S, h, w)."""
    _, shared = _over_all(both)
    centre, high = np.stack([np.quantile(values, (0.5, _HIGH), axis=0) for values in both], axis=1)
    return centre.astype(np.float32), (high - centre).astype(np.float32) + np.float32(_SHARED) * shared
