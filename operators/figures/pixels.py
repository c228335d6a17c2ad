"""Figures of anomaly maps against masks of abnormal pixels.

| figure | meaning |
|---|---|
| ``pixel_auc`` | area under the ROC curve of all pixels of all frames together |
| ``pro`` | per-region overlap: the flagged share of a region (a connected part of a mask), averaged over regions, so that small and large regions count alike; averaged over the false-positive rates up to 30 % of the normal pixels (P. Bergmann et al., MVTec AD, CVPR 2019 and IJCV 2021) |

Pixels with equal values are flagged together, and between two points a curve is a straight line. Regions are found by
the caller, because labelling them needs more than numpy.

A million frames have too many pixels to sort. Values are distinguished at 4096 levels with about equal numbers of
pixels: the figures are exact if there are at most 4096 different values, and else within :func:`error_bounds` of the
exact ones. If there are more than two million pixels, the levels come from a random sample of a million or more. A
video is then three rows of counts at any length, and a draw of the bootstrap a sum of them.

    >>> import numpy as np
    >>> values = np.array([[0.9, 0.8, 0.1, 0.2]])
    >>> regions = np.array([[1, 0, 0, 1]])  # one region of two pixels
    >>> counts = count_pixels("v", [(values, regions)], levels_of([values]))
    >>> pixel_figures(counts)["pixel_auc"]  # of 2 · 2 pairs, 3 are in order
    0.75
"""  # noqa: E501  (a table)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from operators.figures.ranked import Undefined

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.floating]
Regions = npt.NDArray[np.integer]

#: Number of levels at which values are distinguished.
LEVELS = 4096
#: Largest share of flagged normal pixels over which per-region overlap is averaged; the data set's authors' choice.
PRO_LIMIT = 0.3

#: Largest sample of pixels that determines the levels; it never falls below about half as many. Some hundred pixels a
#: level keep the levels equal to about a tenth. 16 MB.
_KEPT = 2_000_000


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Counts of pixels at the levels, of one video or of several together; each array (levels + 1,), by rising value.

    Attributes:
        overlap: shares of a region's pixels, summed over regions.
        regions: number of regions; a frame's regions are its own.
    """

    name: str
    normal: Floats
    abnormal: Floats
    overlap: Floats
    regions: float


def levels_of(values: Iterable[Values]) -> Floats:
    """Return the values at which pixels are distinguished, rising, at most :data:`LEVELS`.

    Args:
        values: of all pixels that are going to be counted, in arrays of any shape. One of them is held at a time.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    sample = _Sample()
    for some in values:
        if not np.isfinite(some).all():
            raise ValueError("maps must hold finite numbers")
        sample.add(some.ravel())
    found = sample.values
    if not len(found):
        raise ValueError("maps: expected at least one, got none")
    different = np.unique(found)
    if len(different) <= LEVELS:
        return different
    return np.unique(np.quantile(found, np.linspace(0, 1, LEVELS), method="nearest"))


class _Sample:
    """A random sample of values, each with the same probability, which falls as their number grows."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._chance = 1.0
        self._held = 0
        self._parts: list[Values] = []

    def add(self, values: Values) -> None:
        if self._chance < 1:
            values = self._rng.choice(values, self._rng.binomial(len(values), self._chance), replace=False)
        self._parts.append(values)
        self._held += len(values)
        while self._held > _KEPT:
            held = np.concatenate(self._parts)
            self._parts = [held[self._rng.random(len(held)) < 0.5]]
            self._held = len(self._parts[0])
            self._chance /= 2

    @property
    def values(self) -> Floats:
        return np.concatenate(self._parts).astype(np.float64) if self._parts else np.empty(0)


def count_pixels(name: str, frames: Iterable[tuple[Values, Regions]], levels: Floats) -> PixelCounts:
    """Count one video's pixels at the levels. One frame is held at a time.

    Args:
        frames: of each, the values, float (H, W), higher is more abnormal; and the regions, int (H, W): 0 where the
            pixel is normal, else the number of its region, from 1.
        levels: see :func:`levels_of`.

    Raises:
        ValueError: no frame, or values and regions of different sizes.
    """
    size = len(levels) + 1
    normal, abnormal, overlap = np.zeros(size), np.zeros(size), np.zeros(size)
    regions = counted = 0
    for values, marked in frames:
        if values.shape != marked.shape:
            raise ValueError(f"{name}: a map of {values.shape} and regions of {marked.shape}; expected one size")
        counted += 1
        at = np.searchsorted(levels, values, side="right")
        inside = marked > 0
        normal += np.bincount(at[~inside], minlength=size)
        if inside.any():
            own = marked[inside]
            pixels = np.bincount(own)
            abnormal += np.bincount(at[inside], minlength=size)
            overlap += np.bincount(at[inside], 1 / pixels[own], minlength=size)
            regions += int(np.count_nonzero(pixels))
    if not counted:
        raise ValueError(f"{name}: no map; expected one a frame")
    return PixelCounts(name, normal, abnormal, overlap, regions)


class PixelSample:
    """Counted videos to draw from; a draw may hold any number of copies of each.

    Args:
        counts: at least one, all at the same levels.

    Raises:
        ValueError: no video.
    """

    def __init__(self, counts: Sequence[PixelCounts]) -> None:
        if not counts:
            raise ValueError("figures of maps need at least one video")
        self.videos = len(counts)
        self._rows = np.stack([(one.normal, one.abnormal, one.overlap) for one in counts], axis=1)
        self._regions = np.array([one.regions for one in counts], np.float64)

    def drawn(self, copies: npt.NDArray[np.int64] | None = None) -> PixelCounts:
        """Return the counts of ``copies`` copies of each video together, int64 (videos,); one of each if None."""
        many = np.ones(self.videos) if copies is None else copies.astype(np.float64)
        normal, abnormal, overlap = many @ self._rows
        return PixelCounts("", normal, abnormal, overlap, float(many @ self._regions))


def pixel_auc(counts: PixelCounts) -> float:
    """Return the area under the ROC curve. Needs pixels of both kinds."""
    return float(np.trapezoid(_falling(counts.abnormal), _falling(counts.normal)))


def pro(counts: PixelCounts) -> float:
    """Return the per-region overlap, see the module's docstring. Needs pixels of both kinds."""
    false, overlaps = _falling(counts.normal), _overlaps(counts)
    end = int(np.searchsorted(false, PRO_LIMIT))  # the first point at the limit or past it
    share = (PRO_LIMIT - false[end - 1]) / (false[end] - false[end - 1])
    at_limit = overlaps[end - 1] + share * (overlaps[end] - overlaps[end - 1])
    area = np.trapezoid(np.append(overlaps[:end], at_limit), np.append(false[:end], PRO_LIMIT))
    return float(area) / PRO_LIMIT


#: By name; each takes the counts of all videos together.
FIGURES: Mapping[str, Callable[[PixelCounts], float]] = MappingProxyType({"pixel_auc": pixel_auc, "pro": pro})


def pixel_figures(counts: PixelCounts) -> dict[str, float]:
    """Return the figures of a video, or of several together.

    Raises:
        Undefined: abnormal or normal pixels are missing.
    """
    for pixels, kind in ((counts.normal, "normal"), (counts.abnormal, "abnormal")):
        if not pixels.sum():
            raise Undefined(f"a curve needs normal and abnormal pixels; got no {kind} ones")
    return {name: figure(counts) for name, figure in FIGURES.items()}


def error_bounds(counts: PixelCounts) -> dict[str, float]:
    """Return, for each figure, how far it can be from the exact one, because pixels of one level are not ordered.

    Both rates only rise as the threshold falls. Between two of its points, the exact curve therefore stays in the
    rectangle that has these points as corners, and ours is the rectangle's diagonal: each level adds at most half of
    its rectangle to the difference. At the limit of ``pro``, the part of a rectangle before it counts, and ours leaves
    more of it above than below.

    Raises:
        Undefined: as :func:`pixel_figures`.
    """
    pixel_figures(counts)
    false, true, overlaps = _falling(counts.normal), _falling(counts.abnormal), _overlaps(counts)
    width, height = np.diff(false), np.diff(overlaps)
    before = np.clip(PRO_LIMIT - false[:-1], 0, width)  # the part of each level that is before the limit
    share = np.divide(before, width, out=np.zeros_like(width), where=width > 0)
    return {
        "pixel_auc": float((width * np.diff(true)).sum() / 2),
        "pro": float((before * height * (1 - share / 2)).sum() / PRO_LIMIT),
    }


def _overlaps(counts: PixelCounts) -> Floats:
    """Return the mean flagged share of a region by falling threshold, starting at 0."""
    return np.concatenate([[0.0], np.cumsum(counts.overlap[::-1])]) / counts.regions


def _falling(counts: Floats) -> Floats:
    """Return the flagged share by falling threshold, starting at 0."""
    flagged: Floats = np.concatenate([[0.0], np.cumsum(counts[::-1])])
    return np.asarray(flagged / flagged[-1])
