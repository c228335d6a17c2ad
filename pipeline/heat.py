"""Heat maps drawn over a picture: from clear over yellow to red, with the picture still visible beneath."""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt

from operators.heat_kind import HeatKind
from pipeline.sources.scale import Part

#: The picture keeps at least this share of itself.
_KEPT = 0.5
_LEAST_COLOUR = (255.0, 220.0, 0.0)  # yellow
_MOST_COLOUR = (255.0, 0.0, 0.0)  # red
#: An attention map whose values differ by less is flat: to stretch it over the colours would be to draw noise.
_FLAT = 0.01
_LEVELS = 256
#: JFIF's: full-range BT.601.
_YCBCR_OF_RGB = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


@dataclass(frozen=True, slots=True)
class Heat:
    """A heat map, its meaning and its place.

    Attributes:
        values: float32 (h, w), a value for each cell, row by row from the top left; of an anomaly map in [0, 1].
        part: the part of the picture that the cells cover; it may reach beyond the picture (a letterbox). The model has
            not seen the picture outside of it.
        kind: the meaning of the values.
    """

    values: npt.NDArray[np.float32]
    part: Part
    kind: HeatKind = HeatKind.ATTENTION

    @property
    def shares(self) -> npt.NDArray[np.float32] | None:
        """The colours of the cells, float32 (h, w): 0 is clear, 1 is red; None where there is nothing to draw.

        An attention map is relative: its least value is clear and its greatest is red. An anomaly map is absolute: 0 is
        clear and 1 is red, so that two pictures can be compared.
        """
        least, most = float(self.values.min()), float(self.values.max())
        if not (math.isfinite(least) and math.isfinite(most)):  # a NaN anywhere makes both of them NaN
            return None
        if self.kind is HeatKind.ANOMALY:
            return np.clip(self.values, 0.0, 1.0)
        return (self.values - least) / (most - least) if most - least >= _FLAT else None


def draw(heat: Heat, picture: av.VideoFrame) -> None:
    """Draw ``heat`` into ``picture``, which must be ``yuvj420p`` and ours to change.

    Values are interpolated linearly between the centres of the cells. 30 ms for 1920 × 1080.

    Raises:
        ValueError: a map that is not (h, w), or a picture of another format.
    """
    if heat.values.ndim != 2 or not heat.values.size:
        raise ValueError(f"a heat map must be (h, w), got shape {heat.values.shape}")
    if picture.format.name != "yuvj420p":
        raise ValueError(f"heat is drawn into yuvj420p, got {picture.format.name}")
    shares = heat.shares
    if shares is None:
        return
    levels = _levels(shares, heat.part, picture.width, picture.height)
    for plane, tint, every in zip(picture.planes, _TINTS, (1, 2, 2), strict=True):
        padded = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        values = padded[: plane.height, : plane.width]
        at = levels[::every, ::every]  # chroma has a value for two by two pixels
        values[...] = (values * _KEPT_256[at] + tint[at]) >> 8


def _levels(share: npt.NDArray[np.float32], part: Part, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the map, [0, 1], at every pixel, as an index into the tables of colours: uint8 (height, width)."""
    rows, columns = share.shape
    down = _weights(height, part.top, part.bottom, rows).astype(np.float32)
    across = _weights(width, part.left, part.right, columns).astype(np.float32)
    return np.rint((down @ share @ across.T) * (_LEVELS - 1)).astype(np.uint8)


def at_pixels(values: npt.NDArray[np.float32], part: Part, width: int, height: int) -> npt.NDArray[np.float32]:
    """Return a heat map at every pixel of a picture, float32 (height, width), interpolated as :func:`draw` does.

    Args:
        values: (h, w).
        part: the part of the picture that the map covers; 0 outside of it.
    """
    rows, columns = values.shape
    down = _weights(height, part.top, part.bottom, rows)
    across = _weights(width, part.left, part.right, columns)
    # In float64, so that equal cells make equal pixels.
    return np.asarray(down @ values.astype(np.float64) @ across.T, np.float32)


def _weights(pixels: int, begins: float, ends: float, cells: int) -> npt.NDArray[np.float64]:
    """Return the weight of each cell at each pixel of one axis, float64 (pixels, cells); 0 outside begins…ends."""
    centres = np.arange(pixels) + 0.5
    place = np.clip((centres - begins) / (ends - begins) * cells - 0.5, 0, cells - 1)
    weights: npt.NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(cells)))
    weights[(centres < begins) | (centres > ends)] = 0.0
    return weights


def _tables() -> tuple[npt.NDArray[np.uint16], list[npt.NDArray[np.uint16]]]:
    """Return for each level, in 256ths: the share kept of a pixel, and the amounts added to its Y, Cb and Cr."""
    share = np.linspace(0.0, 1.0, _LEVELS)
    kept = np.rint(256 * (1.0 - (1.0 - _KEPT) * share)).astype(np.uint16)
    colours = (1.0 - share)[:, None] * _LEAST_COLOUR + share[:, None] * _MOST_COLOUR
    ycbcr = np.clip(colours @ _YCBCR_OF_RGB.T + (0.0, 128.0, 128.0), 0, 255)
    return kept, [np.rint((256 - kept) * ycbcr[:, channel]).astype(np.uint16) for channel in range(3)]


_KEPT_256, _TINTS = _tables()
