"""Figures of the courtyard as limbs, discs and polygons in the world: people, a dog, a bicycle, a cart, a bag.

A figure is a list of shapes in painting order, far parts first. Sizes are metres; a person's sizes are shares of the
height (Winter, Biomechanics and Motor Control of Human Movement, segment lengths after Drillis and Contini).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Colour = tuple[int, int, int]  #: RGB
Point = tuple[float, float, float]  #: X, Y, Z in the world, or forward, up, right of a figure


@dataclass(frozen=True, slots=True)
class Limb:
    """A line with round ends, of radius ``radii[0]`` at its start and ``radii[1]`` at its end."""

    ends: tuple[Point, Point]
    radii: tuple[float, float]
    colour: Colour


@dataclass(frozen=True, slots=True)
class Disc:
    """A ball."""

    centre: Point
    radius: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Face:
    """A flat convex polygon."""

    corners: Sequence[Point]
    colour: Colour


@dataclass(frozen=True, slots=True)
class Ring:
    """A closed line of the given thickness."""

    corners: Sequence[Point]
    thickness: float
    colour: Colour


Shape = Limb | Disc | Face | Ring


@dataclass(frozen=True, slots=True)
class Look:
    """The appearance of one person."""

    height: float
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour = (40, 36, 34)
    umbrella: Colour | None = None


@dataclass(frozen=True, slots=True)
class Stance:
    """Position and posture of a figure.

    Attributes:
        x, z: on the ground, m.
        heading: radians; 0 looks away from the camera, π/2 to the right.
        phase: of the gait, radians; one turn is two steps.
        speed: m/s.
        clock: seconds; drives the small motions of a standing person.
        fight: 0 calm … 1 exchanging blows.
        tilt: 0 upright … 1 lies on the ground.
        talk: strength of hand gestures, 0 … 1.
    """

    x: float
    z: float
    heading: float
    phase: float = 0.0
    speed: float = 0.0
    clock: float = 0.0
    fight: float = 0.0
    tilt: float = 0.0
    talk: float = 0.0


def _placement(stance: Stance) -> Callable[[float, float, float], Point]:
    """Return the function from (forward, up, right) of a figure to the world."""
    sine, cosine = math.sin(stance.heading), math.cos(stance.heading)
    lean, upright = math.sin(stance.tilt * math.pi / 2), math.cos(stance.tilt * math.pi / 2)

    def place(forward: float, up: float, right: float) -> Point:
        if stance.tilt:  # about the feet; a lying body still has a thickness
            forward, up = forward * upright + up * lean, max(0.08, up * upright - forward * lean * 0.4 + 0.12 * lean)
        return stance.x + forward * sine + right * cosine, up, stance.z + forward * cosine - right * sine

    return place


def person(look: Look, stance: Stance) -> list[Shape]:
    """Return a person who stands, walks or runs (by ``speed``), fights, falls or lies; :func:`umbrella` is apart."""
    h, place = look.height, _placement(stance)
    walk = min(stance.speed / 1.2, 1.0)
    run = min(max((stance.speed - 1.9) / 1.6, 0.0), 1.0)
    fight, fallen = stance.fight, stance.tilt
    swing = walk * (0.42 + 0.40 * run) * (1 - fallen)
    lean = 0.05 * walk + 0.17 * run + 0.16 * fight
    sway = 0.012 * math.sin(1.7 * stance.clock)

    legs = []
    for side, turn in ((-1, 0.0), (1, math.pi)):
        angle = stance.phase + turn
        thigh = swing * math.sin(angle) + 0.28 * fight * side + 0.35 * fallen * (1 if side > 0 else 0.2)
        bend = (
            walk * (0.12 + (0.75 + 0.75 * run) * max(0.0, math.cos(angle))) * (1 - fallen)
            + 0.25 * fight
            + 0.9 * fallen * (0.8 if side > 0 else 0.2)
        )
        knee = (0.245 * h * math.sin(thigh), -0.245 * h * math.cos(thigh))
        shin = thigh - bend
        ankle = (knee[0] + 0.246 * h * math.sin(shin), knee[1] - 0.246 * h * math.cos(shin))
        legs.append((side, knee, ankle, shin))
    # The lower foot stands on the ground, so the hip rises and sinks with the steps.
    hip = 0.04 * h - min(ankle[1] for _, _, ankle, _ in legs) + 0.05 * h * run * abs(math.sin(stance.phase))
    shoulder = (0.30 * h * math.sin(lean) + sway, hip + 0.29 * h * math.cos(lean))
    head = (shoulder[0] + 0.03 * h + 0.05 * h * lean, shoulder[1] + 0.125 * h)

    def leg(side: int, knee: tuple[float, float], ankle: tuple[float, float], shin: float) -> list[Shape]:
        across = side * 0.052 * h
        top, middle = place(0, hip, across), place(knee[0], hip + knee[1], across)
        low = place(ankle[0], hip + ankle[1], across)
        toe = place(ankle[0] + 0.10 * h * math.cos(shin * 0.6), hip + ankle[1] - 0.02 * h, across)
        return [
            Limb((low, toe), (0.022 * h, 0.018 * h), look.shoes),
            Limb((top, middle), (0.050 * h, 0.036 * h), look.trousers),
            Limb((middle, low), (0.036 * h, 0.024 * h), look.trousers),
        ]

    def arm(side: int) -> list[Shape]:
        upper = -swing * 0.9 * math.sin(stance.phase + (math.pi if side > 0 else 0.0)) - 0.03
        elbow = 0.18 * walk + 1.35 * run
        out = 0.05
        if stance.talk:
            beat = 0.5 + 0.5 * math.sin(2.3 * stance.clock + side)
            upper += 0.35 * stance.talk * beat
            elbow += 1.1 * stance.talk * beat
        if look.umbrella is not None and side > 0:
            upper, elbow = 0.45, 1.9
        if fight:
            blow = math.sin(stance.clock * (15.0 + 3 * side) + 1.3 * side + stance.x)
            upper += fight * (1.15 + 0.55 * blow)
            elbow += fight * (0.9 - 0.8 * blow)
            out = 0.05 + 0.10 * fight
        if fallen:
            upper, elbow, out = upper + fallen * (1.6 if side > 0 else -0.4), elbow + 0.5 * fallen, 0.30 * fallen
        across = side * 0.115 * h
        joint = (shoulder[0] + 0.172 * h * math.sin(upper), shoulder[1] - 0.172 * h * math.cos(upper))
        hand = (joint[0] + 0.155 * h * math.sin(upper + elbow), joint[1] - 0.155 * h * math.cos(upper + elbow))
        reach = across + side * out * h
        return [
            Limb(
                (place(shoulder[0], shoulder[1], across), place(joint[0], joint[1], reach)),
                (0.032 * h, 0.026 * h),
                look.top,
            ),
            Limb((place(joint[0], joint[1], reach), place(*hand, reach)), (0.024 * h, 0.018 * h), look.top),
            Disc(place(*hand, reach), 0.024 * h, look.skin),
        ]

    far = 1 if math.sin(stance.heading) < 0 else -1  # the side away from the camera
    order = {side: (side, knee, ankle, shin) for side, knee, ankle, shin in legs}
    left_top, right_top = place(*shoulder, -0.085 * h), place(*shoulder, 0.085 * h)
    left_low, right_low = place(0, hip, -0.055 * h), place(0, hip, 0.055 * h)
    dark = _shade(look.top, 0.88)
    shapes: list[Shape] = [*leg(*order[far]), *arm(far), *leg(*order[-far])]
    shapes += [
        Limb((left_top, left_low), (0.055 * h, 0.052 * h), dark if far < 0 else look.top),
        Limb((right_top, right_low), (0.055 * h, 0.052 * h), dark if far > 0 else look.top),
        Face((left_top, right_top, right_low, left_low), look.top),
        Limb((place(*shoulder, 0), place(*head, 0)), (0.030 * h, 0.030 * h), look.skin),
        Disc(place(*head, 0), 0.066 * h, look.skin),
        Disc(place(head[0] - 0.022 * h, head[1] + 0.018 * h, 0), 0.064 * h, look.hair),
    ]
    shapes += arm(-far)
    return shapes


def umbrella(look: Look, stance: Stance) -> list[Shape]:
    """Return the umbrella of a person; empty for one without."""
    if look.umbrella is None:
        return []
    h, place = look.height, _placement(stance)
    rim = [
        place(0.12 + 0.56 * math.cos(turn), 1.06 * h, 0.56 * math.sin(turn) + 0.08)
        for turn in (index * math.pi / 6 for index in range(12))
    ]
    crown = [
        place(0.12 + 0.33 * math.cos(turn), 1.20 * h, 0.33 * math.sin(turn) + 0.08)
        for turn in (index * math.pi / 6 for index in range(12))
    ]
    tip = place(0.12, 1.25 * h, 0.08)
    shapes: list[Shape] = [
        Limb((place(0.16, 0.72 * h, 0.14), tip), (0.012, 0.012), (60, 60, 64)),
        Face(rim, _shade(look.umbrella, 0.7)),
    ]
    for index in range(12):
        after = (index + 1) % 12
        tone = 0.85 + 0.15 * (index % 2)
        shapes.append(Face((rim[index], rim[after], crown[after], crown[index]), _shade(look.umbrella, tone)))
        shapes.append(Face((crown[index], crown[after], tip), _shade(look.umbrella, tone + 0.05)))
    return shapes


def dog(colour: Colour, stance: Stance) -> list[Shape]:
    """Return a dog that trots or runs."""
    place = _placement(stance)
    pace = min(stance.speed / 1.2, 1.0)
    dark = _shade(colour, 0.75)
    shapes: list[Shape] = []
    for forward, right, turn in ((0.22, -0.08, 0.0), (-0.24, -0.08, 2.1), (0.22, 0.08, 3.1), (-0.24, 0.08, 5.2)):
        angle = 0.6 * pace * math.sin(2 * stance.phase + turn)
        foot = (forward + 0.36 * math.sin(angle), 0.40 - 0.36 * math.cos(angle))
        shapes.append(Limb((place(forward, 0.40, right), place(*foot, right)), (0.05, 0.03), dark))
    wag = 0.12 * math.sin(9 * stance.clock)
    shapes += [
        Limb((place(-0.28, 0.46, 0), place(-0.48, 0.62, wag)), (0.035, 0.02), colour),
        Limb((place(-0.26, 0.43, 0), place(0.25, 0.45, 0)), (0.12, 0.13), colour),
        Limb((place(0.27, 0.48, 0), place(0.40, 0.64, 0)), (0.08, 0.07), colour),
        Disc(place(0.42, 0.66, 0), 0.095, colour),
        Limb((place(0.45, 0.65, 0), place(0.58, 0.61, 0)), (0.055, 0.04), dark),
    ]
    return shapes


def bicycle(look: Look, frame: Colour, stance: Stance) -> list[Shape]:
    """Return a pedalling cyclist; ``stance.phase`` turns the cranks."""
    place = _placement(stance)

    def wheel(forward: float) -> list[Shape]:
        turns = [index * math.pi / 8 for index in range(16)]
        rim = [place(forward + 0.34 * math.cos(turn), 0.34 + 0.34 * math.sin(turn), 0) for turn in turns]
        spokes: list[Shape] = []
        for quarter in (0, 4, 8, 12):
            end = rim[(quarter + int(stance.phase * 3)) % 16]
            spokes.append(Limb((place(forward, 0.34, 0), end), (0.008, 0.008), (150, 150, 150)))
        return [*spokes, Ring(rim, 0.05, (28, 28, 30))]

    def leg(side: int) -> list[Shape]:
        turn = stance.phase + (0 if side > 0 else math.pi)
        pedal = (0.02 + 0.17 * math.cos(turn), 0.29 - 0.17 * math.sin(turn))
        hip = (-0.22, 0.98)
        knee = _knee(hip, pedal, 0.44, 0.46)
        return [
            Limb((place(*hip, side * 0.09), place(*knee, side * 0.10)), (0.085, 0.06), look.trousers),
            Limb((place(*knee, side * 0.10), place(*pedal, side * 0.10)), (0.06, 0.04), look.trousers),
            Limb((place(*pedal, side * 0.1), place(pedal[0] + 0.16, pedal[1], side * 0.1)), (0.035, 0.03), look.shoes),
        ]

    def arm(side: int) -> list[Shape]:
        grip = place(0.42, 1.0, side * 0.22)
        return [Limb((place(0.14, 1.42, side * 0.18), grip), (0.055, 0.035), look.top), Disc(grip, 0.045, look.skin)]

    far = 1 if math.sin(stance.heading) < 0 else -1
    bar = 0.022
    return [
        *leg(far),
        *arm(far),
        *wheel(-0.52),
        *wheel(0.54),
        Limb((place(-0.22, 0.86, 0), place(0.0, 0.29, 0)), (bar, bar), frame),
        Limb((place(-0.19, 0.78, 0), place(0.40, 0.82, 0)), (bar, bar), frame),
        Limb((place(0.0, 0.29, 0), place(0.41, 0.76, 0)), (bar, bar), frame),
        Limb((place(-0.52, 0.34, 0), place(0.0, 0.29, 0)), (bar, bar), frame),
        Limb((place(-0.52, 0.34, 0), place(-0.2, 0.8, 0)), (bar, bar), frame),
        Limb((place(0.54, 0.34, 0), place(0.38, 1.0, 0)), (bar, bar), frame),
        Limb((place(-0.3, 0.9, 0), place(-0.08, 0.9, 0)), (0.04, 0.03), (30, 30, 30)),
        *leg(-far),
        Limb((place(-0.2, 1.0, 0), place(0.12, 1.42, 0)), (0.15, 0.16), look.top),
        Limb((place(0.15, 1.48, 0), place(0.22, 1.6, 0)), (0.06, 0.06), look.skin),
        Disc(place(0.23, 1.68, 0), 0.12, look.skin),
        Disc(place(0.20, 1.73, 0), 0.118, look.hair),
        *arm(-far),
    ]


def _knee(hip: tuple[float, float], foot: tuple[float, float], thigh: float, shin: float) -> tuple[float, float]:
    """Return the position of the knee between hip and foot, bent forward (law of cosines)."""
    across, along = foot[0] - hip[0], foot[1] - hip[1]
    reach = min(math.hypot(across, along), thigh + shin - 1e-6)
    bend = math.acos((thigh**2 + reach**2 - shin**2) / (2 * thigh * reach))
    angle = math.atan2(along, across) + bend
    return hip[0] + thigh * math.cos(angle), hip[1] + thigh * math.sin(angle)


def cart(look: Look, body: Colour, stance: Stance) -> list[Shape]:
    """Return a loaded electric cart with its driver."""
    place = _placement(stance)
    far = 1 if math.sin(stance.heading) < 0 else -1

    def wheels(side: int) -> list[Shape]:
        shapes: list[Shape] = []
        for forward in (-0.85, 0.85):
            turns = [index * math.pi / 8 for index in range(16)]
            rim = [place(forward + 0.27 * math.cos(t), 0.27 + 0.27 * math.sin(t), side * 0.58) for t in turns]
            shapes += [Face(rim, (24, 24, 26)), Disc(place(forward, 0.27, side * 0.6), 0.1, (130, 130, 134))]
        return shapes

    def posts(side: int) -> list[Shape]:
        return [
            Limb((place(forward, 0.7, side * 0.5), place(forward - 0.05, 1.85, side * 0.5)), (0.03, 0.03), (70, 72, 76))
            for forward in (-0.35, 0.85)
        ]

    return [
        *wheels(far),
        *_cuboid(place, (-1.3, 0.30, -0.55), (1.25, 0.62, 0.55), body, stance),
        *posts(far),
        *_cuboid(place, (-1.25, 0.62, -0.5), (-0.45, 1.35, 0.5), (168, 134, 92), stance),
        *_cuboid(place, (-1.1, 1.35, -0.35), (-0.6, 1.7, 0.3), (150, 116, 78), stance),
        Limb((place(-0.05, 0.75, 0), place(0.0, 1.25, 0)), (0.17, 0.18), look.top),
        Limb((place(0.0, 1.2, -0.15), place(0.42, 1.05, -0.1)), (0.055, 0.04), look.top),
        Limb((place(0.0, 1.2, 0.15), place(0.42, 1.05, 0.1)), (0.055, 0.04), look.top),
        Disc(place(0.03, 1.52, 0), 0.12, look.skin),
        Disc(place(0.0, 1.56, 0), 0.117, look.hair),
        *_cuboid(place, (0.75, 0.62, -0.5), (1.2, 0.95, 0.5), _shade(body, 0.95), stance),
        *wheels(-far),
        *posts(-far),
        *_cuboid(place, (-0.45, 1.85, -0.6), (0.95, 1.93, 0.6), (226, 226, 222), stance),
    ]


def bag(colour: Colour, stance: Stance, *, carried: bool = False) -> list[Shape]:
    """Return a travel bag that stands at ``stance``, or hangs from the right hand of a person there."""
    place = _placement(stance)
    below, aside = (0.28, 0.34) if carried else (0.0, 0.0)
    top, dark = below + 0.34, _shade(colour, 0.6)
    return [
        *_cuboid(place, (-0.28, below, aside - 0.13), (0.28, top, aside + 0.13), colour, stance),
        Limb((place(-0.1, top, aside), place(-0.07, top + 0.12, aside)), (0.02, 0.02), dark),
        Limb((place(-0.07, top + 0.12, aside), place(0.07, top + 0.12, aside)), (0.02, 0.02), dark),
        Limb((place(0.07, top + 0.12, aside), place(0.1, top, aside)), (0.02, 0.02), dark),
    ]


def _cuboid(
    place: Callable[[float, float, float], Point], low: Point, high: Point, colour: Colour, stance: Stance
) -> list[Shape]:
    """Return the faces of a box that a camera high above the ground may see, the nearest last."""
    (f0, u0, r0), (f1, u1, r1) = low, high
    faces: list[tuple[float, Face]] = []
    sides = {
        (1.0, 0.0): [(f1, r0), (f1, r1)],
        (-1.0, 0.0): [(f0, r0), (f0, r1)],
        (0.0, 1.0): [(f0, r1), (f1, r1)],
        (0.0, -1.0): [(f0, r0), (f1, r0)],
    }
    sine, cosine = math.sin(stance.heading), math.cos(stance.heading)
    for (forward, right), ((fa, ra), (fb, rb)) in sides.items():
        middle = place((fa + fb) / 2, 0, (ra + rb) / 2)
        outward = (forward * sine + right * cosine, forward * cosine - right * sine)
        if outward[0] * middle[0] + outward[1] * middle[2] >= 0:
            continue  # looks away from the camera, which hangs at X, Z about 0
        tone = 0.72 + 0.2 * abs(outward[1])
        corners = (place(fa, u0, ra), place(fb, u0, rb), place(fb, u1, rb), place(fa, u1, ra))
        faces.append((-middle[2], Face(corners, _shade(colour, tone))))
    faces.sort(key=lambda item: item[0])
    top = Face((place(f0, u1, r0), place(f1, u1, r0), place(f1, u1, r1), place(f0, u1, r1)), colour)
    return [*(face for _, face in faces), top]


def _shade(colour: Colour, tone: float) -> Colour:
    red, green, blue = (min(255, int(part * tone)) for part in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """Colours that people in a courtyard wear."""

    skins: tuple[Colour, ...] = field(
        default=((233, 196, 168), (214, 170, 136), (176, 128, 92), (128, 88, 62), (92, 62, 46))
    )
    hairs: tuple[Colour, ...] = ((38, 30, 26), (72, 48, 30), (120, 84, 48), (176, 150, 104), (120, 118, 116))
    tops: tuple[Colour, ...] = (
        (52, 60, 84), (126, 40, 42), (60, 92, 70), (196, 190, 178), (44, 44, 48), (196, 150, 62),
        (92, 124, 160), (140, 92, 120), (222, 222, 226), (90, 76, 60), (64, 120, 128), (170, 92, 60),
    )  # fmt: skip
    trousers: tuple[Colour, ...] = (
        (46, 52, 72), (38, 38, 42), (96, 86, 72), (70, 74, 80), (120, 108, 88), (34, 40, 54),
    )  # fmt: skip
    umbrellas: tuple[Colour, ...] = ((150, 34, 40), (36, 40, 48), (40, 76, 132), (196, 160, 52), (64, 116, 84))
    dogs: tuple[Colour, ...] = ((96, 66, 40), (52, 46, 42), (190, 160, 112), (214, 208, 198))
    bags: tuple[Colour, ...] = ((34, 36, 44), (112, 40, 38), (48, 76, 112), (104, 82, 54))
