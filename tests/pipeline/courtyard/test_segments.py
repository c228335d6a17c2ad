"""The courtyard's masks: classes at points whose place is known, things in front of others, boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.courtyard.figures import Disc, Face, Look, Point, Stance
from pipeline.courtyard.layout import DOOR_X, FACADE_Z, LAMP, WALKWAY
from pipeline.courtyard.paint import paint
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.script import Posed
from pipeline.courtyard.segments import CLASSES, VOID, covered
from pipeline.courtyard.settings import SceneSettings
from pipeline.courtyard.view import View

SEED = 4242
FIRST_THING = CLASSES.index("person")
LOOK = Look(1.8, (200, 160, 130), (40, 30, 20), (90, 90, 160), (40, 40, 60))


def staged(*cast: Posed, width: int = 640, height: int = 360) -> Courtyard:
    """Return a courtyard in which exactly these figures stand, the farthest first."""
    scene = Courtyard(SceneSettings(seed=SEED, width=width, height=height))
    scene._script.cast = lambda _seconds: list(cast)
    scene._script.door = lambda _seconds: 0.0
    return scene


def figure(kind: str, x: float, z: float, *, look: Look = LOOK, in_incident: bool = False) -> Posed:
    return Posed(kind, look, Stance(x, z, math.pi / 2), (90, 90, 90), in_incident)


def pixel_of(point: Point, width: int = 640, height: int = 360) -> tuple[int, int]:
    """Return row and column by the equations of a camera 4.2 m above the ground that looks down by 22°."""
    x, y, z = point
    turn = math.radians(22)
    ahead = z * math.cos(turn) - (y - 4.2) * math.sin(turn)
    up = (y - 4.2) * math.cos(turn) + z * math.sin(turn)
    pixels = 1.14 * width / ahead
    return round(height / 2 - up * pixels), round(width / 2 + x * pixels)


def class_at(segments: np.ndarray, point: Point) -> str:
    rows, columns = segments.shape
    return CLASSES[segments[pixel_of(point, columns, rows)]]


class TestTheEmptyCourtyard:
    @pytest.mark.parametrize("size", [(640, 360), (1280, 720)])
    @pytest.mark.parametrize(
        ("point", "name"),
        [
            ((0.0, 0.0, sum(WALKWAY) / 2), "walkway"),
            ((-2.0, 0.0, WALKWAY[0] + 0.1), "walkway"),
            ((2.0, 0.0, WALKWAY[1] - 0.1), "walkway"),
            ((0.0, 0.0, WALKWAY[0] - 0.4), "paving"),
            ((3.0, 0.0, WALKWAY[1] + 0.4), "paving"),
            ((-4.0, 0.0, 12.0), "paving"),
            ((-5.0, 0.0, 16.0), "lawn"),
            ((6.0, 0.0, 16.0), "lawn"),
            ((DOOR_X, 1.0, FACADE_Z), "door"),
            ((DOOR_X + 1.2, 0.5, FACADE_Z), "wall"),
            ((3.0, 0.5, FACADE_Z), "wall"),
            ((1.5 + 0.34, 1.3, FACADE_Z), "window"),
            ((LAMP[0], 1.0, LAMP[1]), "lamp"),
        ],
    )
    def test_has_the_class_of_each_place(self, size: tuple[int, int], point: Point, name: str) -> None:
        assert class_at(staged(width=size[0], height=size[1]).segments(0), point) == name

    def test_has_a_path_and_plants(self) -> None:
        segments = staged().segments(0)
        assert {CLASSES[at] for at in np.unique(segments) if at != VOID} == set(CLASSES[:FIRST_THING])
        assert staged().things(0) == ()

    def test_has_no_class_at_the_time_stamp_alone(self) -> None:
        scene = staged()
        void = scene.segments(0) == VOID
        assert 0.01 < void.mean() < 0.03
        assert not void[30:330].any()
        # The frame is darkest there: the stamp's boxes have a third of the light.
        picture = scene.frame(0).astype(int)
        assert np.median(picture[void]) < np.median(picture[:30][~void[:30]]) / 2


class TestFigures:
    @pytest.mark.parametrize("kind", ["person", "dog", "bicycle", "cart", "bag"])
    def test_have_their_class(self, kind: str) -> None:
        scene = staged(figure(kind, 0.0, 8.0))
        middle = {"person": 1.0, "dog": 0.44, "bicycle": 1.2, "cart": 0.5, "bag": 0.2}[kind]
        assert class_at(scene.segments(0), (0.0, middle, 8.0)) == kind
        assert [thing.name for thing in scene.things(0)] == [kind]

    def test_nearer_ones_hide_farther_ones(self) -> None:
        far, near = figure("cart", 0.0, 9.0), figure("person", 0.0, 7.0)
        both, alone = staged(far, near).segments(0), staged(near).segments(0)
        person = alone == CLASSES.index("person")
        assert person.any()
        assert (both[person] == CLASSES.index("person")).all()
        cart = staged(far).segments(0) == CLASSES.index("cart")
        assert (cart & person).any()
        assert np.array_equal(both == CLASSES.index("cart"), cart & ~person)

    def test_a_hidden_one_is_not_a_thing_of_the_frame(self) -> None:
        bag, cart = figure("bag", 0.0, 9.0), figure("cart", 0.0, 8.0)
        assert [thing.name for thing in staged(bag).things(0)] == ["bag"]
        assert [thing.name for thing in staged(bag, cart).things(0)] == ["cart"]

    def test_an_umbrella_and_a_carried_bag_are_things_of_their_own(self) -> None:
        look = Look(1.8, LOOK.skin, LOOK.hair, LOOK.top, LOOK.trousers, umbrella=(150, 30, 40))
        stance = Stance(0.0, 8.0, math.pi / 2)
        scene = staged(Posed("person", look, stance, (90, 90, 90), True, carries=True))
        assert [(thing.name, thing.in_incident) for thing in scene.things(0)] == [
            ("person", True),
            ("umbrella", True),
            ("bag", True),
        ]
        segments = scene.segments(0)
        assert class_at(segments, (0.1, 1.12 * 1.8, 8.0)) == "umbrella"
        assert class_at(segments, (0.0, 0.45, 7.66)) == "bag"

    def test_a_leash_has_no_class(self) -> None:
        stance = Stance(-1.0, 8.0, math.pi / 2)
        held = staged(Posed("person", LOOK, stance, (0, 0, 0), False, leash_to=(2.0, 8.0)))
        assert np.array_equal(held.segments(0), staged(figure("person", -1.0, 8.0)).segments(0))


def components(mask: np.ndarray) -> Sequence[tuple[int, int, int, int]]:
    """Return the boxes of 8-connected parts of a mask, by a flood fill of its own."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    boxes = []
    while left:
        stack = [left.pop()]
        part = []
        while stack:
            y, x = stack.pop()
            part.append((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    stack.append(near)
        ys, xs = zip(*part, strict=True)
        boxes.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return boxes


class TestBoxes:
    def test_enclose_exactly_the_visible_pixels(self) -> None:
        scene = staged(figure("bag", -2.5, 8.0), figure("cart", 0.5, 8.0, in_incident=True), figure("bag", 2.9, 7.0))
        segments = scene.segments(0)
        found = {(thing.name, thing.box, thing.in_incident) for thing in scene.things(0)}
        (cart,) = components(segments == CLASSES.index("cart"))
        bags = components(segments == CLASSES.index("bag"))
        assert len(bags) == 2
        assert found == {("cart", cart, True), *(("bag", box, False) for box in bags)}

    def test_of_a_real_frame_hold_all_pixels_of_their_class(self) -> None:
        scene = Courtyard(SceneSettings(seed=SEED, seconds=60))
        for incident in scene.incidents:
            frame = (incident.first_frame + incident.last_frame) // 2
            segments, things = scene.segments(frame), scene.things(frame)
            assert any(thing.in_incident for thing in things)
            held = np.zeros(segments.shape, bool)
            for thing in things:
                left, top, right, bottom = thing.box
                within = segments[top:bottom, left:right] == CLASSES.index(thing.name)
                for side in (within[0], within[-1], within[:, 0], within[:, -1]):
                    assert side.any()  # the box is not larger than it must be
                held[top:bottom, left:right] |= within
            assert np.array_equal(held, (segments >= FIRST_THING) & (segments != VOID))


class TestAPixel:
    VIEW = View(64, 36, focal=1.0, mount=0.0, pitch=0.0, aside=0.0)

    @pytest.mark.parametrize("left", [-5.9, -5.6, -5.3, -5.0])
    def test_is_covered_by_a_part_that_gives_it_half_of_its_colour(self, left: float) -> None:
        black = np.zeros((36, 64, 3), np.uint8)
        # At a distance of 64 m a metre is a pixel.
        corners = ((left, -4.0, 64.0), (5.3, -4.0, 64.0), (5.3, 4.0, 64.0), (left, 4.0, 64.0))
        square = Face(corners, (200, 200, 200))
        paint(black, self.VIEW, [square])
        assert np.array_equal(covered(self.VIEW, [square]), black[:, :, 0] > 100)

    def test_of_a_ball_is_within_its_radius(self) -> None:
        rows, columns = np.mgrid[0:36, 0:64]
        distance = np.hypot(rows - 18, columns - 32)
        ball = covered(self.VIEW, [Disc((0.0, 0.0, 64.0), 10.0, (0, 0, 0))])
        assert ball[distance < 9.3].all()
        assert not ball[distance > 10.7].any()


def test_masks_change_no_picture() -> None:
    asked, other = (Courtyard(SceneSettings(seed=SEED, seconds=60)) for _ in range(2))
    for frame in (0, 200, 555):
        asked.segments(frame)
        asked.things(frame)
        assert np.array_equal(asked.frame(frame), other.frame(frame))
