"""Where the model looked, drawn over a picture: from clear over yellow to red, and what is beneath still to be seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import av
import numpy as np
import numpy.typing as npt

from pipeline.sources.scale import Part

#: The picture keeps at least this share of itself.
_KEPT = 0.5
_LEAST_COLOUR = (255.0, 220.0, 0.0)  # yellow
_MOST_COLOUR = (255.0, 0.0, 0.0)  # red
#: A map whose values differ by less looks everywhere alike: to stretch it over the colours would be to draw noise.
_FLAT = 0.01
_LEVELS = 256
#: JFIF's: full-range BT.601.
_YCBCR_OF_RGB = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


class HeatKind(StrEnum):
    """The meaning of a heat map's values."""

    ATTENTION = "attention"  #: relative: only the shape of one map means something
    ANOMALY = "anomaly"  #: absolute: values can be compared between clips


@dataclass(frozen=True, slots=True)
class Heat:
    """An attention map and its place.

    Attributes:
        attention: float32 (h, w), a value for each cell, row by row from the top left.
        part: what of the picture the cells cover; it may reach beyond the picture (a letterbox), and what of the
            picture lies outside of it the model has not seen.
    """

    attention: npt.NDArray[np.float32]
    part: Part


def draw(heat: Heat, picture: av.VideoFrame) -> None:
    """Draw ``heat`` into ``picture``, which must be ``yuvj420p`` and ours to change.

    Between the centres of the cells values run straight. The least value of the map is clear and the greatest is red:
    what is shown is where the model looked more than elsewhere, not how sure it was. 30 ms for 1920 × 1080.

    Raises:
        ValueError: a map that is not (h, w), or a picture of another format.
    """
    if heat.attention.ndim != 2 or not heat.attention.size:
        raise ValueError(f"an attention map must be (h, w), got shape {heat.attention.shape}")
    if picture.format.name != "yuvj420p":
        raise ValueError(f"heat is drawn into yuvj420p, got {picture.format.name}")
    least, most = float(heat.attention.min()), float(heat.attention.max())
    if not most - least >= _FLAT:  # NaN, too
        return
    levels = _levels((heat.attention - least) / (most - least), heat.part, picture.width, picture.height)
    for plane, tint, every in zip(picture.planes, _TINTS, (1, 2, 2), strict=True):
        padded = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        values = padded[: plane.height, : plane.width]
        at = levels[::every, ::every]  # chroma has a value for two by two pixels
        values[...] = (values * _KEPT_256[at] + tint[at]) >> 8


def _levels(share: npt.NDArray[np.float32], part: Part, width: int, height: int) -> npt.NDArray[np.uint8]:
    """uint8 (height, width): the map, [0, 1], at every pixel, as an index into the tables of colours."""
    rows, columns = share.shape
    down = _weights(height, part.top, part.bottom, rows)
    across = _weights(width, part.left, part.right, columns)
    return np.rint((down @ share @ across.T) * (_LEVELS - 1)).astype(np.uint8)


def _weights(pixels: int, begins: float, ends: float, cells: int) -> npt.NDArray[np.float32]:
    """float32 (pixels, cells): how much each cell counts at each pixel of one axis; nothing outside begins…ends."""
    centres = np.arange(pixels) + 0.5
    place = np.clip((centres - begins) / (ends - begins) * cells - 0.5, 0, cells - 1)
    weights: npt.NDArray[np.float32] = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(cells))).astype("f4")
    weights[(centres < begins) | (centres > ends)] = 0.0
    return weights


def _tables() -> tuple[npt.NDArray[np.uint16], list[npt.NDArray[np.uint16]]]:
    """For each level, in 256ths: what is kept of a pixel, and what is added to its Y, Cb and Cr."""
    share = np.linspace(0.0, 1.0, _LEVELS)
    kept = np.rint(256 * (1.0 - (1.0 - _KEPT) * share)).astype(np.uint16)
    colours = (1.0 - share)[:, None] * _LEAST_COLOUR + share[:, None] * _MOST_COLOUR
    ycbcr = np.clip(colours @ _YCBCR_OF_RGB.T + (0.0, 128.0, 128.0), 0, 255)
    return kept, [np.rint((256 - kept) * ycbcr[:, channel]).astype(np.uint16) for channel in range(3)]


_KEPT_256, _TINTS = _tables()
