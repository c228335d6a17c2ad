"""The courtyard: a rendered scene as a fixed camera sees it, with a known truth for each frame.

Everything is a function of (settings, frame number): frames can be rendered in any order, and the same settings give
the same pictures on one machine.
"""

from __future__ import annotations

import math
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.courtyard import figures
from pipeline.courtyard.backdrop import Backdrop, paint_backdrop, segment_backdrop
from pipeline.courtyard.figures import Face, Limb, Shape
from pipeline.courtyard.layout import DOOR_X, FACADE_Z, day, view
from pipeline.courtyard.light import Exposure
from pipeline.courtyard.paint import Picture, paint, shadow_of
from pipeline.courtyard.script import Posed, Script, Staged
from pipeline.courtyard.segments import CLASSES, VOID, Part, Thing, covered
from pipeline.courtyard.settings import Box, Incident, OrdinaryKind, SceneSettings, Seen

_WITHIN_METRES = 0.2  # a figure that near the edge of the picture counts as not seen
_JOG_METRES_PER_SECOND = 2.1  # joggers run at 2.2 and more; all others walk, but for those who hurry to an incident
_SMALLEST_SIDE = 3  # pixels; a smaller part of an incident counts as invisible


class Courtyard:
    """One courtyard camera.

    A frame of 640×360 takes 7.5 ms of one core (bench/sources.py).
    """

    def __init__(self, settings: SceneSettings) -> None:
        self.settings = settings
        self._view = view(settings.width, settings.height)
        self._day = day(settings.seed)
        self._script = Script(settings.seed, self._view, settings.incidents_per_minute, abandoned=settings.abandoned)

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return max(1, round(self.settings.seconds * self.settings.fps))

    @cached_property
    def incidents(self) -> tuple[Incident, ...]:
        """All visible incidents by first frame; they do not overlap."""
        found = []
        for staged in self._script.staged_until(self.settings.seconds):
            first = max(0, math.ceil(staged.start * self.settings.fps))
            last = min(math.floor(staged.end * self.settings.fps), self.frame_count - 1)
            # From both ends: an incident has hundreds of frames, and a box takes a millisecond.
            shown = self._first_shown(staged, range(first, last + 1))
            if shown is not None:
                last_shown = self._first_shown(staged, range(last, shown - 1, -1))
                assert last_shown is not None
                found.append(Incident(staged.kind, shown, last_shown))
        return tuple(found)

    def truth(self, frame: int) -> tuple[Seen, ...]:
        """Return the incidents that frame number ``frame`` shows, with their boxes; empty if there are none.

        A box encloses the pixels that the participants cover, or would cover without occlusion.
        """
        staged = self._script.staged_at(frame / self.settings.fps)
        box = self._box(staged, frame) if staged is not None else None
        if box is None:
            return ()
        incident = next(each for each in self.incidents if each.first_frame <= frame <= each.last_frame)
        return (Seen(incident, box),)

    def ordinary(self, frame: int) -> frozenset[OrdinaryKind]:
        """Return the kinds of hard normals that frame number ``frame`` shows, apart from those in an incident."""
        seen = set()
        for posed in self._script.cast(frame / self.settings.fps):
            stance = posed.stance
            aside = abs(stance.x - self._view.aside)
            if posed.in_incident or aside > self._view.half_width(stance.z) - _WITHIN_METRES:
                continue
            if posed.figure == "dog":
                seen.add(OrdinaryKind.DOG)
            elif posed.figure == "person" and posed.look.umbrella is not None:
                seen.add(OrdinaryKind.UMBRELLA)
            elif posed.figure == "person" and stance.speed >= _JOG_METRES_PER_SECOND:
                seen.add(OrdinaryKind.JOGGER)
        return frozenset(seen)

    def frame(self, number: int) -> Picture:
        """Render frame number ``number``: uint8 (height, width, 3) RGB."""
        seconds = number / self.settings.fps
        picture = self._backdrop.picture.copy()
        paint(picture, self._view, self._door(self._script.door(seconds)))
        cast = [(posed, _shapes(posed)) for posed in self._script.cast(seconds)]
        self._cast_shadows(
            picture, [shape for posed, shapes in cast if posed.stance.z < FACADE_Z - 1 for shape in shapes]
        )
        for _, shapes in cast:
            paint(picture, self._view, shapes)
        lamp, rain = self._script.lamp(seconds), self._script.rain(seconds)
        return self._exposure.expose(picture, number, seconds, lamp=lamp, rain=rain)

    def segments(self, frame: int) -> Picture:
        """Return the class of each pixel of frame number ``frame``, without rendering it.

        Returns:
            uint8 (height, width): an index of :data:`~pipeline.courtyard.segments.CLASSES`, or VOID at the time stamp.
        """
        segments, _, _ = self._segmented(frame)
        return segments

    def things(self, frame: int) -> tuple[Thing, ...]:
        """Return the things of which frame number ``frame`` shows a pixel, the farthest first."""
        _, owners, parts = self._segmented(frame)
        seen = []
        for ordinal, part in enumerate(parts):
            left, top, width, height = cv2.boundingRect((owners == ordinal).astype(np.uint8))
            if width:
                seen.append(Thing(part.name, (left, top, left + width, top + height), part.in_incident))
        return tuple(seen)

    def _segmented(self, frame: int) -> tuple[Picture, npt.NDArray[np.int16], list[Part]]:
        """Return the classes (H, W), the part that each pixel shows (H, W), -1 for none, and the parts."""
        seconds = frame / self.settings.fps
        segments = self._empty_segments.copy()
        segments[covered(self._view, self._door(self._script.door(seconds)))] = CLASSES.index("door")
        owners = np.full(segments.shape, -1, np.int16)
        parts = [part for posed in self._script.cast(seconds) for part in _parts(posed)]
        for ordinal, part in enumerate(parts):
            where = covered(self._view, part.shapes)
            segments[where], owners[where] = CLASSES.index(part.name), ordinal
        for _, _, (left, top, right, bottom) in self._exposure.stamps(seconds):
            segments[top:bottom, left:right], owners[top:bottom, left:right] = VOID, -1
        return segments, owners, parts

    @cached_property
    def _backdrop(self) -> Backdrop:
        return paint_backdrop(self._view, self._day)

    @cached_property
    def _empty_segments(self) -> Picture:
        return segment_backdrop(self._view)

    @cached_property
    def _exposure(self) -> Exposure:
        return Exposure(self._view, self._day, self.settings.seed)

    def _first_shown(self, staged: Staged, frames: range) -> int | None:
        """Return the first of ``frames`` in which the incident is visible; None if it is in none of them."""
        return next((frame for frame in frames if self._box(staged, frame) is not None), None)

    def _box(self, staged: Staged, frame: int) -> Box | None:
        mask = np.zeros((self.settings.height, self.settings.width), np.uint8)
        for posed in self._script.cast(frame / self.settings.fps):
            if posed.in_incident:
                paint(mask, self._view, _shapes(posed), (255, 255, 255))
        left, top, width, height = cv2.boundingRect(mask)
        if min(width, height) < _SMALLEST_SIDE:
            return None
        return left, top, left + width, top + height

    def _cast_shadows(self, picture: Picture, shapes: list[Shape]) -> None:
        mask = np.zeros(picture.shape[:2], np.uint8)
        paint(mask, self._view, shadow_of(shapes, self._day.slant), (255, 255, 255))
        mask = cv2.bitwise_and(cv2.blur(mask, (3, 3)), self._backdrop.ground)
        bright = cv2.addWeighted(mask, -self._day.shade, mask, 0, 255)
        np.copyto(picture, cv2.multiply(picture, cv2.merge([bright] * 3), scale=1 / 255))

    def _door(self, opened: float) -> list[Shape]:
        if not opened:
            return []
        middle, z = DOOR_X, FACADE_Z - 0.05
        left, right = middle - 0.65, middle + 0.65
        inside = Face(((left, 0, z), (right, 0, z), (right, 2.3, z), (left, 2.3, z)), (52, 44, 36))
        light = Face(((left, 0, z), (right, 0, z), (right, 1.5, z), (left, 1.5, z)), (92, 78, 58))
        turn = opened * 1.4
        edge, near = left + 1.3 * math.cos(turn), z - 1.3 * math.sin(turn)
        leaf = Face(((left, 0, z), (edge, 0, near), (edge, 2.3, near), (left, 2.3, z)), (86, 60, 44))
        return [inside, light, leaf]


def _parts(posed: Posed) -> list[Part]:
    """Return a figure and the things that it carries, in painting order; a leash is too thin to be one."""
    look, colour, stance = posed.look, posed.colour, posed.stance
    shapes: list[tuple[str, list[Shape]]]
    match posed.figure:
        case "dog":
            shapes = [("dog", figures.dog(colour, stance))]
        case "bicycle":
            shapes = [("bicycle", figures.bicycle(look, colour, stance))]
        case "cart":
            shapes = [("cart", figures.cart(look, colour, stance))]
        case "bag":
            shapes = [("bag", figures.bag(colour, stance))]
        case _:
            shapes = [("person", figures.person(look, stance)), ("umbrella", figures.umbrella(look, stance))]
            if posed.carries:
                shapes.append(("bag", figures.bag(colour, stance, carried=True)))
    return [Part(name, own, posed.in_incident) for name, own in shapes if own]


def _shapes(posed: Posed) -> list[Shape]:
    shapes = [shape for part in _parts(posed) for shape in part.shapes]
    if posed.leash_to is not None:
        x, z = posed.leash_to
        hand = (
            posed.stance.x + 0.3 * math.sin(posed.stance.heading),
            0.9,
            posed.stance.z + 0.3 * math.cos(posed.stance.heading),
        )
        shapes.append(Limb((hand, (x, 0.6, z)), (0.01, 0.01), (40, 36, 34)))
    return shapes
