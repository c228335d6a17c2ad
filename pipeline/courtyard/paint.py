"""Painting of shapes of the world into a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.courtyard.figures import Colour, Disc, Face, Limb, Point, Ring, Shape
from pipeline.courtyard.view import Floats, View

Picture = npt.NDArray[np.uint8]

_SHIFT = 4  #: OpenCV's fixed-point bits of a coordinate: figures move by parts of a pixel
_ONE = 1 << _SHIFT


def paint(picture: Picture, view: View, shapes: Sequence[Shape], colour: Colour | None = None) -> None:
    """Paint ``shapes`` in their order into ``picture``, (H, W, 3), or (H, W) with ``colour`` a single tone.

    Args:
        picture: changed in place.
        colour: paint all shapes in this colour, for masks and shadows; None: their own.
    """
    if not shapes:
        return
    points: list[Point] = []
    for shape in shapes:
        match shape:
            case Limb():
                points.extend(shape.ends)
            case Disc():
                points.append(shape.centre)
            case Face() | Ring():
                points.extend(shape.corners)
    pixels, scales = view.project(np.array(points, np.float64))
    at = 0
    for shape in shapes:
        tone = shape.colour if colour is None else colour
        match shape:
            case Limb():
                _limb(picture, pixels[at : at + 2], scales[at : at + 2], shape.radii, tone)
                at += 2
            case Disc():
                _disc(picture, pixels[at], shape.radius * scales[at], tone)
                at += 1
            case Face():
                corners = np.rint(pixels[at : at + len(shape.corners)] * _ONE).astype(np.int32)
                cv2.fillConvexPoly(picture, cv2.convexHull(corners), tone, cv2.LINE_AA, _SHIFT)
                at += len(shape.corners)
            case Ring():
                corners = np.rint(pixels[at : at + len(shape.corners)] * _ONE).astype(np.int32)
                width = max(1, round(shape.thickness * float(scales[at])))
                cv2.polylines(picture, [corners], True, tone, width, cv2.LINE_AA, _SHIFT)
                at += len(shape.corners)


def _limb(picture: Picture, ends: Floats, scales: Floats, radii: tuple[float, float], colour: Colour) -> None:
    (ax, ay), (bx, by) = ends.tolist()
    ra, rb = max(radii[0] * float(scales[0]), 0.6), max(radii[1] * float(scales[1]), 0.6)
    _disc(picture, (ax, ay), ra, colour)
    _disc(picture, (bx, by), rb, colour)
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
    if length < 1e-3:
        return
    nx, ny = (ay - by) / length, (bx - ax) / length
    corners = (
        (ax + nx * ra, ay + ny * ra),
        (bx + nx * rb, by + ny * rb),
        (bx - nx * rb, by - ny * rb),
        (ax - nx * ra, ay - ny * ra),
    )
    fixed = np.array([(round(x * _ONE), round(y * _ONE)) for x, y in corners], np.int32)
    cv2.fillConvexPoly(picture, fixed, colour, cv2.LINE_AA, _SHIFT)


def _disc(picture: Picture, centre: Sequence[float] | Floats, radius: float, colour: Colour) -> None:
    at = (round(float(centre[0]) * _ONE), round(float(centre[1]) * _ONE))
    cv2.circle(picture, at, max(round(radius * _ONE), _ONE // 2), colour, -1, cv2.LINE_AA, _SHIFT)


def shadow_of(shapes: Sequence[Shape], slant: tuple[float, float]) -> list[Shape]:
    """Return the shadows of ``shapes`` on the ground: a point moves by ``slant`` metres (X, Z) per metre of height."""

    def projected(point: Point) -> Point:
        x, y, z = point
        return x + y * slant[0], 0.0, z + y * slant[1]

    black = (0, 0, 0)
    flat: list[Shape] = []
    for shape in shapes:
        match shape:
            case Limb():
                flat.append(Limb((projected(shape.ends[0]), projected(shape.ends[1])), shape.radii, black))
            case Disc():
                if shape.radius > 0.05:
                    flat.append(Disc(projected(shape.centre), shape.radius, black))
            case Face():
                flat.append(Face([projected(corner) for corner in shape.corners], black))
            case Ring():
                flat.append(Ring([projected(corner) for corner in shape.corners], shape.thickness, black))
    return flat
