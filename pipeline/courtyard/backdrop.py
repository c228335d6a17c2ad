"""The static parts of the courtyard: ground, walkway, façade, trees, lamp; painted once for a day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipeline.courtyard.figures import Colour, Disc, Face, Limb, Point, Shape
from pipeline.courtyard.layout import DOOR_X, FACADE_Z, LAMP, WALKWAY, Day
from pipeline.courtyard.paint import Picture, paint, shadow_of
from pipeline.courtyard.segments import CLASSES, Part, covered
from pipeline.courtyard.view import Floats, View

_GROUND_X, _GROUND_Z = (-18.0, 18.0), (3.0, FACADE_Z)
_TEXELS = 36  # per metre of the ground's and the façade's texture
_OVERSAMPLING = 2
_SURFACES = 20260501  # seed of every stain and brick: the place stays the same


@dataclass(frozen=True, slots=True)
class Backdrop:
    """The empty courtyard.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        ground: uint8 (H, W), 255 where the ground is visible.
    """

    picture: Picture
    ground: Picture


def paint_backdrop(view: View, today: Day) -> Backdrop:
    """Paint the empty courtyard as ``view`` sees it, with the shadows of ``today``."""
    surfaces, things = _place()
    fine = View(view.width * _OVERSAMPLING, view.height * _OVERSAMPLING, view.focal, view.mount, view.pitch, view.aside)
    size = (fine.width, fine.height)
    picture = np.empty((fine.height, fine.width, 3), np.uint8)
    picture[:] = (176, 190, 206)
    mask = np.zeros((fine.height, fine.width), np.uint8)
    for surface in surfaces:
        warp = surface.warp(fine)
        painted = cv2.warpPerspective(surface.texture, warp, size, flags=cv2.INTER_LINEAR)
        mask[:] = cv2.warpPerspective(np.full_like(surface.classes, 255), warp, size, flags=cv2.INTER_NEAREST)
        np.copyto(picture, painted, where=mask[:, :, None] > 0)

    shadow = np.zeros((fine.height, fine.width), np.uint8)
    for thing in things:
        paint(shadow, fine, shadow_of(thing.shapes, today.slant), (255, 255, 255))
    shadow = cv2.GaussianBlur(shadow, (0, 0), 2.0 * view.width / 640)
    dark = 1.0 - today.shade * (shadow / 255.0) * (mask > 0)
    picture = (picture * dark[:, :, None]).astype(np.uint8)
    for thing in things:
        paint(picture, fine, thing.shapes)
    small = (view.width, view.height)
    return Backdrop(
        cv2.resize(picture, small, interpolation=cv2.INTER_AREA),
        cv2.resize(mask, small, interpolation=cv2.INTER_AREA),
    )


def segment_backdrop(view: View) -> Picture:
    """Return the class of each pixel of the empty courtyard, uint8 (H, W): an index of CLASSES."""
    surfaces, things = _place()
    # Between façade and ground is a seam of a pixel.
    segments: Picture = np.full((view.height, view.width), CLASSES.index("wall"), np.uint8)
    for surface in surfaces:
        cv2.warpPerspective(
            surface.classes,
            surface.warp(view),
            (view.width, view.height),
            dst=segments,
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
    for thing in things:
        segments[covered(view, thing.shapes)] = CLASSES.index(thing.name)
    return segments


@dataclass(frozen=True, slots=True)
class _Surface:
    """A painted rectangle of the world.

    Attributes:
        corners: from the texture's top left on, clockwise.
        texture: uint8 (rows, columns, 3).
        classes: uint8 (rows, columns), the class of each texel.
    """

    corners: tuple[Point, Point, Point, Point]
    texture: Picture
    classes: Picture

    def warp(self, view: View) -> Floats:
        """Return the homography (3, 3) from texels to the pixels of ``view``."""
        pixels, _ = view.project(np.array(self.corners))
        rows, columns = self.classes.shape
        source = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
        homography: Floats = cv2.getPerspectiveTransform(source, pixels.astype(np.float32))
        return homography


@lru_cache(maxsize=1)
def _place() -> tuple[list[_Surface], list[Part]]:
    """Return the surfaces and the things of the place, the farthest first. They are the same each day."""
    rng = np.random.default_rng(_SURFACES)
    (left, right), (near, far) = _GROUND_X, _GROUND_Z
    floor = ((left, 0.0, far), (right, 0.0, far), (right, 0.0, near), (left, 0.0, near))
    wall = ((left, 8.0, far), (right, 8.0, far), (right, 0.0, far), (left, 0.0, far))
    ground = _Surface(floor, *_ground(rng))  # drawn before the façade, by the order of random numbers
    facade = _Surface(wall, *_facade(rng, DOOR_X))
    return [facade, ground], _things(rng)


def _texture(rng: np.random.Generator, height: float, width: float, colour: Colour, grain: float) -> Picture:
    """Return a rough surface of ``height`` × ``width`` metres: patches, stains and grain about one colour."""
    rows, columns = round(height * _TEXELS), round(width * _TEXELS)
    field = rng.normal(0, grain, (rows, columns)).astype(np.float32)
    for cells, strength in ((2.5, 5.0), (0.8, 7.0), (0.2, 4.0)):  # cells per metre
        coarse = rng.normal(0, strength, (max(2, round(height * cells)), max(2, round(width * cells))))
        field += cv2.resize(coarse.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    surface: Picture = np.clip(np.array(colour, np.float32) + field[:, :, None], 0, 255).astype(np.uint8)
    return surface


def _ground(rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Paint paving with a walkway across and lawns along the façade, seen from above; row 0 is the far edge.

    Returns:
        the colours (rows, columns, 3) and the classes (rows, columns).
    """
    depth, breadth = _GROUND_Z[1] - _GROUND_Z[0], _GROUND_X[1] - _GROUND_X[0]
    tint = rng.uniform(-8, 8)
    paving = _texture(rng, depth, breadth, (int(150 + tint), int(144 + tint), int(134 + tint)), 5)
    classes: Picture = np.full(paving.shape[:2], CLASSES.index("paving"), np.uint8)

    def row(z: float) -> int:
        return round((_GROUND_Z[1] - z) * _TEXELS)

    def column(x: float) -> int:
        return round((x - _GROUND_X[0]) * _TEXELS)

    step = round(float(rng.choice((0.5, 0.6, 0.8))) * _TEXELS)
    for top in range(0, paving.shape[0], step):  # slabs of slightly different greys, with joints
        shift = (top // step % 2) * step // 2
        for left in range(-shift, paving.shape[1], step):
            slab = paving[top : top + step, max(left, 0) : left + step]
            slab[:] = np.clip(slab.astype(np.int16) + int(rng.normal(0, 4)), 0, 255)
            paving[top : top + 2, max(left, 0) : left + step] = 104
            paving[top : top + step, max(left, 0) : max(left, 0) + 2] = 104

    # The walkway's bricks lie across.
    walkway = _texture(rng, WALKWAY[1] - WALKWAY[0], breadth, (172, 158, 138), 5)
    walkway[:: round(0.25 * _TEXELS)] = (136, 124, 108)
    walkway[:, :: round(0.5 * _TEXELS)] = (136, 124, 108)
    paving[row(WALKWAY[1]) : row(WALKWAY[1]) + walkway.shape[0]] = walkway
    for edge in WALKWAY:
        paving[row(edge) - 5 : row(edge) + 5] = (120, 114, 106)
    classes[row(WALKWAY[1]) - 5 : row(WALKWAY[0]) + 5] = CLASSES.index("walkway")  # with its edges
    lawn = _texture(rng, 3.4, breadth, (84, 112, 62), 12)
    paving[row(17.7) : row(17.7) + lawn.shape[0]] = lawn
    classes[row(17.7) : row(17.7) + lawn.shape[0]] = CLASSES.index("lawn")
    path = _texture(rng, 3.4, 2.4, (154, 146, 132), 5)  # to the door
    left = column(float(rng.uniform(-1.5, 1.5)))
    across = np.s_[row(17.7) : row(17.7) + path.shape[0], left : left + path.shape[1]]
    paving[across] = path
    classes[across] = CLASSES.index("path")
    for _ in range(4):  # stains and drain covers
        at = (column(float(rng.uniform(-10, 10))), row(float(rng.uniform(6, 13))))
        tone = int(rng.uniform(112, 134))
        cv2.ellipse(paving, at, (int(rng.uniform(8, 26)), int(rng.uniform(8, 22))), 0, 0, 360, (tone,) * 3, -1)
    return paving, classes


def _facade(rng: np.random.Generator, door_x: float) -> tuple[Picture, Picture]:
    """Paint a wall of 36 × 8 m with windows; row 0 is its top.

    Returns:
        the colours (rows, columns, 3) and the classes (rows, columns).
    """
    colour = [(168, 152, 132), (150, 112, 92), (178, 172, 160)][int(rng.integers(3))]
    wall = _texture(rng, 8.0, 36.0, colour, 4)
    classes: Picture = np.full(wall.shape[:2], CLASSES.index("wall"), np.uint8)
    for top in range(0, wall.shape[0], round(0.3 * _TEXELS)):
        wall[top : top + 1] = (np.array(colour) * 0.86).astype(np.uint8)

    def box(x: float, y: float, width: float, height: float, paint_with: Colour, name: str) -> None:
        left, top = round((x + 18 - width / 2) * _TEXELS), round((8 - y - height) * _TEXELS)
        where = np.s_[top : top + round(height * _TEXELS), left : left + round(width * _TEXELS)]
        wall[where], classes[where] = paint_with, CLASSES.index(name)

    wall[round((8 - 0.6) * _TEXELS) :] = (np.array(colour) * 0.7).astype(np.uint8)
    for x in np.arange(-16.5, 17, 3.0):
        if abs(x - door_x) < 1.6:
            continue
        for y in (1.1, 4.3):
            box(float(x), y, 1.5, 1.7, (206, 202, 192), "window")
            for pane in (-0.34, 0.34):
                tone = rng.uniform(0.7, 1.15)
                glass = (int(70 * tone), int(86 * tone), int(104 * tone))
                box(float(x) + pane, y + 0.12, 0.6, 1.46, glass, "window")
    box(door_x, 0.0, 1.6, 2.5, (196, 192, 184), "door")
    box(door_x, 0.0, 1.3, 2.3, (74, 52, 38), "door")
    box(door_x, 2.9, 3.0, 0.15, (92, 92, 96), "wall")
    return wall, classes


def _things(rng: np.random.Generator) -> list[Part]:
    """Return trees, a lamp post, benches and tubs, the farthest first; none in front of the door."""
    free = (-10.5, -7.0, 7.4, 10.8, -3.4, 3.6)
    places = [x for x in free if abs(x - DOOR_X) > 2.0 and abs(x - LAMP[0]) > 1.2]
    things: list[Part] = []
    for index, x in enumerate(places[:5]):
        z = float(rng.uniform(14.6, 16.2))
        if index % 2 == 0:
            things.append(Part("plant", _tree(rng, x, z)))
        else:
            tub: list[Shape] = [
                Face(((x - 0.6, 0, z), (x + 0.6, 0, z), (x + 0.7, 0.6, z), (x - 0.7, 0.6, z)), (128, 104, 88))
            ]
            for _ in range(14):
                green = rng.uniform(0.7, 1.2)
                at = (x + float(rng.uniform(-0.6, 0.6)), 0.7 + float(rng.uniform(0, 0.6)), z)
                tub.append(Disc(at, 0.22, (int(62 * green), int(98 * green), int(46 * green))))
            things.append(Part("plant", tub))
    x, z = LAMP
    lamp: list[Shape] = [
        Limb(((x, 0, z), (x, 4.2, z)), (0.07, 0.05), (58, 60, 62)),
        Limb(((x, 4.2, z), (x - math.copysign(0.8, x), 4.35, z)), (0.05, 0.05), (58, 60, 62)),
        Disc((x - math.copysign(0.85, x), 4.25, z), 0.18, (214, 212, 200)),
    ]
    return [*things, Part("lamp", lamp)]


def _tree(rng: np.random.Generator, x: float, z: float) -> list[Shape]:
    shapes: list[Shape] = [Limb(((x, 0, z), (x + 0.1, 2.4, z)), (0.2, 0.13), (84, 66, 50))]
    for _ in range(60):
        turn, reach = rng.uniform(0, 2 * math.pi), float(rng.uniform(0, 1.0)) ** 0.5
        up = 3.6 + 1.5 * reach * math.sin(turn)
        green = 0.65 + 0.12 * (up - 2.2) + rng.uniform(-0.1, 0.1)
        colour = (int(66 * green), int(100 * green), int(48 * green))
        shapes.append(Disc((x + 1.5 * reach * math.cos(turn), up, z), float(rng.uniform(0.25, 0.5)), colour))
    return shapes
