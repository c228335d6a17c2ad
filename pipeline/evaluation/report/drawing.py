"""From numbers to SVG: axes, ticks, paths, and thinning of points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


#: Pieces closer than this are joined into one line, in the drawing's units.
_TOUCH = 0.5


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis: ``at`` in the drawing's units."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis for values from ``low`` to ``high``, drawn from ``begin`` to ``end``; linear after ``bend``.

    Attributes:
        bend: a rising function; None: the identity.
    """

    low: float
    high: float
    begin: float
    end: float
    bend: Callable[[Floats], Floats] | None = None

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Convert values to the drawing's units; values outside are drawn at the ends of the axis."""
        bend = self.bend or _identity
        inside = np.clip(np.asarray(values, np.float64), self.low, self.high)
        low, high = bend(np.array([self.low, self.high], np.float64))
        share = (bend(inside) - low) / (high - low) if high > low else np.zeros_like(inside)
        return np.asarray(self.begin + share * (self.end - self.begin), np.float64)

    def ticks(self, values: list[float], label: Callable[[float], str]) -> list[Tick]:
        """Return ticks at those of ``values`` that lie on the axis."""
        kept = [value for value in values if self.low <= value <= self.high]
        return [Tick(at, label(value)) for at, value in zip(self(kept).tolist(), kept, strict=True)]


def _identity(values: Floats) -> Floats:
    return values


def path(x: Floats, y: Floats) -> str:
    """Return the SVG path through the points."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def steps(left: Floats, right: Floats, y: Floats) -> str:
    """Return the SVG path of a line that keeps ``y`` from ``left`` to ``right``, or to the next ``left`` if earlier."""
    parts: list[str] = []
    behind = -math.inf
    for begin, end, at in zip(left.tolist(), np.append(np.minimum(right[:-1], left[1:]), right[-1:]), y, strict=True):
        parts.append(f"{'L' if begin <= behind + _TOUCH else 'M'}{begin:.1f} {at:.1f}H{end:.1f}")
        behind = end
    return "".join(parts)


def thinned(x: Floats, y: Floats, most: int, keep: int | None = None) -> npt.NDArray[np.intp]:
    """Return the points of a line to draw: evenly along it, at most ``most`` and the kept one.

    The first and last are always among them. Between two drawn points the line was at most 1 / ``most`` of its length:
    for a ROC curve, 2 units long, a four-hundredth of the picture.

    Args:
        x, y: (n,), on axes of about the same length in the drawing.
        keep: number of a point that must be drawn.
    """
    if len(x) <= most:
        return np.arange(len(x))
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    if not along[-1]:
        return np.array([0, len(x) - 1])
    places = np.searchsorted(along, np.linspace(0, along[-1], most))
    extra = [] if keep is None else [keep]
    return np.unique(np.concatenate([places, [0, len(x) - 1], extra]).clip(0, len(x) - 1)).astype(np.intp)


def even_ticks(high: float, about: int, *, low: float = 0.0) -> list[float]:
    """Return ``about`` round numbers from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def clock_ticks(length: float, about: int, *, low: float = 0.0) -> list[float]:
    """Return ticks as :func:`even_ticks`, in steps that are round on a clock: seconds, quarters of minutes, hours."""
    span = length - low
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400):
        if span / step <= about:
            first = math.ceil(low / step - 1e-9)
            return [float(n * step) for n in range(first, math.floor(length / step + 1e-9) + 1)]
    return even_ticks(length, about, low=low)
