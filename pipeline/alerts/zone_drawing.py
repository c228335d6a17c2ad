"""Zones drawn over a picture: the outline with the name, and grey hatching where whatever moves is ignored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import av
import numpy as np
import numpy.typing as npt

from operators.zones import Point, Zone
from pipeline.lettering import drawable, lettered

#: Y, Cb and Cr of JPEG for each paint; 0 leaves the picture as it is. Zones are blue, as heat is yellow to red and an
#: open alert's frame is red.
_BLACK, _GREY, _BLUE, _WHITE = 1, 2, 3, 4
_YCBCR = np.array([(0, 0, 0), (0, 128, 128), (165, 128, 128), (118, 205, 56), (255, 128, 128)], np.uint8)
#: A picture of so many lines has an outline one pixel wide and letters at scale 1; larger ones in proportion.
_LINES_A_PIXEL = 360
#: From one line of the hatching to the next, in widths of the outline.
_HATCH = 9
#: Paintings that are kept: one for each camera with alerts at the moment.
_KEPT = 16

_Paints = npt.NDArray[np.uint8]


def draw_zones(zones: Sequence[Zone], picture: av.VideoFrame) -> None:
    """Draw ``zones`` into ``picture``, which must be ``yuvj420p`` and ours to change.

    A name in other letters than :mod:`pipeline.lettering` has is drawn as the zone's number: #1 is the first. 60 ms for
    the first picture of 1920 × 1080, 10 ms for the next ones.

    Raises:
        ValueError: a picture of another format.
    """
    if picture.format.name != "yuvj420p":
        raise ValueError(f"zones are drawn into yuvj420p, got {picture.format.name}")
    for plane, (places, values) in zip(
        picture.planes, _painting(tuple(zones), picture.width, picture.height), strict=True
    ):
        padded = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        padded[: plane.height, : plane.width][places] = values


@lru_cache(maxsize=_KEPT)
def _painting(
    zones: tuple[Zone, ...], width: int, height: int
) -> list[tuple[tuple[npt.NDArray[np.intp], ...], npt.NDArray[np.uint8]]]:
    """Return for each plane of a picture the rows and columns that are painted, and their values."""
    scale = max(1, round(height / _LINES_A_PIXEL))
    # Chroma has a value for two by two pixels.
    canvas = np.zeros((height + height % 2, width + width % 2), np.uint8)
    paints = canvas[:height, :width]
    for zone in zones:
        if zone.ignore:
            _hatch(paints, zone.points, scale)
        _draw_sides(paints, zone.points, 3 * scale, _BLACK)  # seen on any ground
        _draw_sides(paints, zone.points, scale, _GREY if zone.ignore else _BLUE)
    for number, zone in enumerate(zones, 1):  # above all outlines
        _write(paints, drawable(zone.name) or f"#{number}", zone, scale)
    # A bright pixel of four has their colour: an outline may be one pixel wide.
    coarse = canvas.reshape(canvas.shape[0] // 2, 2, canvas.shape[1] // 2, 2).transpose(1, 3, 0, 2)
    coarse = np.maximum(np.maximum(coarse[0, 0], coarse[0, 1]), np.maximum(coarse[1, 0], coarse[1, 1]))
    fine_places, places = np.nonzero(paints), np.nonzero(coarse)
    return [
        (fine_places, _YCBCR[paints[fine_places], 0]),
        *((places, _YCBCR[coarse[places], channel]) for channel in (1, 2)),
    ]


def _write(paints: _Paints, text: str, zone: Zone, scale: int) -> None:
    """Write the name at the zone's topmost corner, moved into the picture where it would not fit."""
    height, width = paints.shape
    # Each letter has a free column on its right.
    letters = np.pad(lettered(text, scale), ((2 * scale, 2 * scale), (2 * scale, scale)))
    x, y = min(zone.points, key=lambda point: (point[1], point[0]))
    left = max(0, min(round(x * width), width - letters.shape[1]))
    top = max(0, min(round(y * height), height - letters.shape[0]))
    place = paints[top : top + letters.shape[0], left : left + letters.shape[1]]
    letters = letters[: place.shape[0], : place.shape[1]]
    place[...] = np.where(letters, _BLACK if zone.ignore else _WHITE, _GREY if zone.ignore else _BLUE)


def _draw_sides(paints: _Paints, points: Sequence[Point], thick: int, paint: int) -> None:
    height, width = paints.shape
    corners = np.array(points) * (width, height)
    shifts = range(-(thick // 2), thick - thick // 2)
    for begins, ends in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        steps = int(np.abs(ends - begins).max()) + 2
        at = begins + (ends - begins) * np.linspace(0.0, 1.0, steps)[:, None]
        # A line on the picture's edge lies inside.
        columns, rows = (np.clip(at[:, axis].astype(np.intp), 0, size - 1) for axis, size in enumerate((width, height)))
        for shift in shifts:
            paints[np.clip(rows + shift, 0, height - 1), columns] = paint
            paints[rows, np.clip(columns + shift, 0, width - 1)] = paint
        row, column = rows[0], columns[0]
        paints[max(0, row + shifts[0]) : row + shifts[-1] + 1, max(0, column + shifts[0]) : column + shifts[-1] + 1] = (
            paint
        )


def _hatch(paints: _Paints, points: Sequence[Point], scale: int) -> None:
    """Draw diagonal lines over the pixels whose centre lies inside: each side flips all pixels right of it."""
    corners = np.array(points) * (paints.shape[1], paints.shape[0])
    left, top = np.floor(corners.min(axis=0)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    box = paints[top:bottom, left:right]
    height, width = box.shape
    flips = np.zeros((height, width + 1), bool)
    centres = top + np.arange(height) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.flatnonzero((centres >= min(y0, y1)) & (centres < max(y0, y1)))
        if rows.size:
            x = x0 + (centres[rows] - y0) * (x1 - x0) / (y1 - y0) - left
            flips[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)] ^= True
    inside = np.logical_xor.accumulate(flips, axis=1)[:, :width]
    diagonals = (np.arange(height)[:, None] + np.arange(width)) % (_HATCH * scale) < scale
    box[inside & diagonals] = _GREY
