"""Scores with a meaning: how rarely normal footage reaches a value.

A detector that learns from normal footage alone gives raw values on a scale of its own. Rarity replaces a value by its
tail probability p, the share of normal values that reach it. The score is

    s = d / (d + 3),  d = −log10 p

so a value that every tenth normal clip reaches scores 0.25, one in a thousand 0.5, one in a million 0.67. Scores of two
cameras with one s are equally rare there, whatever the raw values are.

Up to a high quantile u, p follows the empirical quantiles. Beyond it nothing is known but the excesses over u. Their
distribution tends to a generalised Pareto distribution as u rises (J. Pickands, Statistical inference using extreme
order statistics, Annals of Statistics 3, 1975). Its shape cannot be determined from minutes of footage, and a negative
one would end the scale at a finite value, so the shape is 0: an exponential tail. Its scale is the median excess over
ln 2, because incidents among the footage would draw the mean upwards.

Many normal values may be equal, such as those of a still picture. All of them reach their value, so its p is the share
of values that are not below it. Where u itself is such a value, the tail begins one least scale above it, because fewer
than a tenth of the values are beyond it.

All normal values reach a value below them, so its p is 1. Most cells of a detector's map lie there on this scale,
because a picture's value is that of its highest cells. Such values keep their order, at scores below 1e-12: were they
equal, the map could not distinguish these parts of the picture.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Quantile at which the fitted tail begins. A tenth of the values stays to fit it.
TAIL_FROM = 0.9
#: Number of empirical quantiles below the tail, evenly spaced from 0.
KNOTS = 91
#: Decades of rarity that score 0.5.
HALF_DECADES = 3.0
#: Share at the lowest normal value; below that value, shares fall further. It changes no score that matters.
_LEAST_SHARE = 1e-12


@dataclass(frozen=True, slots=True)
class Rarity:
    """A continuous map from raw values to [0, 1], which rises with the value: below, among and beyond normal values.

    Attributes:
        levels: float64 (K,), quantiles of normal values, rising; the tail begins at the last one.
        shares: float64 (K,), the share of normal values below each level, rising; the last one is :data:`TAIL_FROM`.
        scale: of the exponential tail, above 0; in units of the values.

    Raises:
        ValueError: levels or shares that do not rise or are not finite, or a scale that is not above 0.
    """

    levels: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    scale: float

    def __post_init__(self) -> None:
        if self.levels.shape != self.shares.shape or self.levels.ndim != 1 or not len(self.levels):
            raise ValueError(f"expected a share for each level, got {self.levels.shape} and {self.shares.shape}")
        if not (
            np.isfinite(self.levels).all() and (np.diff(self.levels) > 0).all() and (np.diff(self.shares) > 0).all()
        ):
            raise ValueError("levels and shares must be finite and rise from one to the next")
        if not 0 <= self.shares[0] <= self.shares[-1] == TAIL_FROM:
            raise ValueError(f"shares must end at {TAIL_FROM}, got {self.shares!r}")
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a number above 0, got {self.scale!r}")

    def arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return its parts by their names, as :meth:`from_arrays` takes them."""
        return {"levels": self.levels, "shares": self.shares, "scale": np.array(self.scale, np.float64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Rarity:
        """Return the map of these parts. Raises KeyError or ValueError: parts are missing, or cannot be."""
        return cls(arrays["levels"], arrays["shares"], float(arrays["scale"]))

    @staticmethod
    def blank_arrays(levels: int) -> dict[str, npt.NDArray[np.float64]]:
        """Return arrays of the shapes and types of :meth:`arrays`, for so many levels."""
        return {"levels": np.empty(levels), "shares": np.empty(levels), "scale": np.empty(())}

    def decades(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return −log10 of the share of normal values that reach each value; of the shape of ``values``, from 0."""
        given = np.asarray(values, np.float64)
        below = np.maximum(np.interp(given, self.levels, self.shares), _LEAST_SHARE)
        below /= 1 + np.maximum(self.levels[0] - given, 0) / self.scale
        body = -np.log1p(-below) / np.log(10)
        beyond = np.maximum(given - self.levels[-1], 0) / (self.scale * np.log(10))
        found: npt.NDArray[np.float64] = np.where(given > self.levels[-1], beyond - np.log10(1 - TAIL_FROM), body)
        return found

    def scores(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the score of each value, in [0, 1); of the shape of ``values``."""
        decades = self.decades(values)
        return decades / (decades + HALF_DECADES)


def score_of(share: float) -> float:
    """Return the score of a value that this share of normal values reaches.

    >>> score_of(1e-3)
    0.5

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share must be above 0 and at most 1, got {share!r}")
    decades = -float(np.log10(share))
    return decades / (decades + HALF_DECADES)


def fit_rarity(values: npt.ArrayLike, *, least_scale: float) -> Rarity:
    """Fit the map to values of normal footage that the detector has not learned from.

    Args:
        values: (n,), n at least 20, in any order. A few per cent of incidents among them change the fit little.
        least_scale: of the tail, above 0, for footage in which hardly anything happens; in units of the values.

    Raises:
        ValueError: too few values, or values that are not finite.
    """
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or len(given) < 20 or not np.isfinite(given).all():
        raise ValueError(f"expected at least 20 finite values, got shape {given.shape}")
    ordered = np.sort(given)
    at = np.ceil(np.linspace(0, TAIL_FROM, KNOTS) * len(ordered) - 1e-9).astype(np.int64)  # 0.07 · 100 is 7 + 9e-16
    levels = np.unique(ordered[at])
    shares = np.minimum(np.searchsorted(ordered, levels) / len(ordered), TAIL_FROM)
    excesses = ordered[ordered > levels[-1]] - levels[-1]
    scale = max(float(np.median(excesses)) / np.log(2) if len(excesses) else 0.0, least_scale)
    if shares[-1] < TAIL_FROM:  # more than a tenth of the values reach the last level: many are equal to it
        levels, shares = np.append(levels, levels[-1] + least_scale), np.append(shares, TAIL_FROM)
    return Rarity(levels, shares, scale)
