"""The courtyard's script: all actions, written from a seed, minute by minute and incident by incident.

Every part is a function of the seed and its own number, so any moment can be computed without the moments before it.
Nothing here draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from pipeline.courtyard.figures import Colour, Look, Stance, Wardrobe
from pipeline.courtyard.layout import BACK_Z, DOOR_X, FACADE_Z, WALKWAY
from pipeline.courtyard.motion import RATE, Go, Stay, Track, seconds_of, track
from pipeline.courtyard.settings import MIXED_KINDS, IncidentKind
from pipeline.courtyard.view import View

_BLOCK_SECONDS = 60.0
_NEAR_Z = 6.4
_LEAD_SECONDS = 2.0  # least calm before an incident within its period
_INCIDENT_SECONDS = 7.0  # the longest incident; the rest of its period is jitter and calm
_CROWD_AWAY_SECONDS = 18.0  # after a scattering all people are back by then
_NEED_THE_CROWD = (IncidentKind.RUNNER, IncidentKind.SCATTER)
# Number of people of the crowd who come to help, or to part them.
_BYSTANDERS = {IncidentKind.FALL: 3, IncidentKind.SCUFFLE: 2}
_WAY_BACK_SECONDS = 2.5  # from the end of the incident until the bystanders are back in their places
_SET_DOWN_SECONDS = 1.6  # a person stands while setting a bag down, or picking it up
_ALONE_SECONDS = 2.5  # from the moment at which the owner leaves a bag until it is alone
_FETCHED_SECONDS = 12.0  # from the moment at which a bag is fetched to the end of its period
_WARDROBE = Wardrobe()


@dataclass(frozen=True, slots=True)
class Actor:
    """One figure of the play.

    Attributes:
        figure: ``person``, ``dog``, ``bicycle``, ``cart`` or ``bag``.
        look, colour: how it looks; ``colour`` is the dog's coat, the bicycle's frame, the cart's body, the bag.
        falls: from when to when it lies on the ground, or None.
        fights: from when to when it fights, or None; ``fights_at`` is the place (x, z) and the angle.
        urges: from when to when it gestures with its hands, or None.
        carries: from when to when it carries a bag of ``colour``, or None.
    """

    figure: str
    look: Look
    track: Track
    colour: Colour = (90, 90, 90)
    falls: tuple[float, float] | None = None
    fights: tuple[float, float] | None = None
    fights_at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    urges: tuple[float, float] | None = None
    carries: tuple[float, float] | None = None
    leash_to: Track | None = None


@dataclass(frozen=True, slots=True)
class Posed:
    """An actor at one moment."""

    figure: str
    look: Look
    stance: Stance
    colour: Colour
    in_incident: bool
    leash_to: tuple[float, float] | None = None
    carries: bool = False


@dataclass(frozen=True, slots=True)
class Staged:
    """An incident of the play: kind, start, end and participants; ``others`` come for it and are not part of it."""

    number: int
    kind: IncidentKind
    start: float
    end: float
    cast: tuple[Actor, ...]
    place: tuple[float, float] = (0.0, 0.0)  #: (x, z) of a fall or a scuffle
    passes: tuple[tuple[float, float], tuple[float, float]] | None = None  #: start and end of a runner's way
    others: tuple[Actor, ...] = ()


@dataclass(frozen=True, slots=True)
class _Minute:
    """The ordinary life of one minute: people, and the changes of lamp, door and weather (from, to).

    ``stroll`` is the time at which the crowd goes for a walk, unless an incident needs it.
    """

    actors: tuple[Actor, ...]
    lamp: tuple[float, float] | None
    door: tuple[float, float] | None
    rain: tuple[float, float] | None
    stroll: float | None


@dataclass(frozen=True, slots=True)
class _Member:
    """A person of the standing crowd."""

    look: Look
    x: float
    z: float
    facing: float
    nerve: float  #: reaction time, seconds


class Script:
    """The play of one seed.

    Args:
        view: the camera; people enter and leave outside its view.
        abandoned: the incidents are abandoned objects.
    """

    def __init__(self, seed: int, view: View, incidents_per_minute: float, *, abandoned: bool = False) -> None:
        self._seed = seed
        self._view = view
        self._period = 60.0 / incidents_per_minute if incidents_per_minute else math.inf
        self._abandoned = abandoned
        rng = np.random.default_rng([seed, 1])
        self.crowd_x = float(rng.uniform(-1.2, 1.2))
        self.crowd_z = float(rng.uniform(10.2, 10.8))
        self._crowd = self._gather(rng)
        self._kinds: list[IncidentKind] = []
        self._minute = lru_cache(maxsize=8)(self._write_minute)
        self._staged = lru_cache(maxsize=64)(self._stage)
        self._stroll = lru_cache(maxsize=4)(self._write_stroll)
        self._bystanders = lru_cache(maxsize=64)(self._call_bystanders)

    # Visible things at one moment

    def staged_until(self, seconds: float) -> list[Staged]:
        """Return all incidents that begin before ``seconds``, by their start."""
        if math.isinf(self._period):
            return []
        every = (self._staged(number) for number in range(math.ceil(seconds / self._period)))
        return [staged for staged in every if staged.start < seconds]

    def staged_at(self, seconds: float) -> Staged | None:
        """Return the incident in progress at this moment; None if there is none."""
        return next((each for each in self._near(seconds) if each.start <= seconds <= each.end), None)

    def cast(self, seconds: float) -> list[Posed]:
        """Return all figures in the courtyard, the farthest first."""
        posed: list[Posed] = []
        block = math.floor(seconds / _BLOCK_SECONDS)
        for number in (block - 1, block):
            posed += _present(self._minute(number).actors, seconds, in_incident=False)
        runner: Staged | None = None
        for staged in self._near(seconds):
            going_on = staged.start <= seconds <= staged.end
            if staged.kind is IncidentKind.RUNNER and going_on:
                runner = staged
            posed += _present(staged.cast, seconds, in_incident=going_on)
            posed += _present((*staged.others, *self._bystanders(staged.number)), seconds, in_incident=False)
        posed += _present(self._strolling(seconds), seconds, in_incident=False)
        gone = {id(each.look) for each in posed}
        posed += [self._standing(member, seconds, runner) for member in self._crowd if id(member.look) not in gone]
        posed.sort(key=lambda each: -each.stance.z)
        return posed

    def lamp(self, seconds: float) -> float:
        """Return the brightness of the lamp, 0 … 1."""
        return max(self._over(self._minute(number).lamp, seconds, 0.25) for number in self._blocks(seconds))

    def door(self, seconds: float) -> float:
        """Return how far the door is open, 0 … 1."""
        return max(self._over(self._minute(number).door, seconds, 0.8) for number in self._blocks(seconds))

    def rain(self, seconds: float) -> float:
        """Return the strength of the rain, 0 … 1."""
        return max(self._over(self._minute(number).rain, seconds, 3.0) for number in self._blocks(seconds))

    @staticmethod
    def _blocks(seconds: float) -> tuple[int, int]:
        block = math.floor(seconds / _BLOCK_SECONDS)
        return block - 1, block

    @staticmethod
    def _over(span: tuple[float, float] | None, seconds: float, ramp: float) -> float:
        if span is None:
            return 0.0
        return min(max(min(seconds - span[0], span[1] - seconds) / ramp, 0.0), 1.0)

    def _near(self, seconds: float) -> list[Staged]:
        """Return the incidents of which a participant may still, or already, be visible."""
        return self._between(seconds - _CROWD_AWAY_SECONDS - 12.0, seconds + 12.0)

    def _between(self, from_: float, to: float) -> list[Staged]:
        """Return the incidents in whose periods these moments lie, and those in between."""
        if math.isinf(self._period):
            return []
        first, last = (max(0, math.floor(moment / self._period)) for moment in (from_, to))
        return [self._staged(number) for number in range(first, last + 1)]

    # Ordinary life

    def _edge(self, side: int, z: float, beyond: float = 1.2) -> float:
        return self._view.aside + side * (self._view.half_width(z) + beyond)

    def _random_look(self, rng: np.random.Generator, umbrella: bool = False) -> Look:
        def one(colours: Sequence[Colour]) -> Colour:
            return colours[int(rng.integers(len(colours)))]

        return Look(
            height=float(rng.normal(1.72, 0.08)),
            skin=one(_WARDROBE.skins),
            hair=one(_WARDROBE.hairs),
            top=one(_WARDROBE.tops),
            trousers=one(_WARDROBE.trousers),
            umbrella=one(_WARDROBE.umbrellas) if umbrella else None,
        )

    def _lane(self, rng: np.random.Generator) -> float:
        """Return a random distance at which people do not walk into the crowd."""
        while True:
            z = float(rng.uniform(_NEAR_Z, BACK_Z - 0.8))
            if abs(z - self.crowd_z) > 1.1:
                return z

    def _write_minute(self, number: int) -> _Minute:
        rng = np.random.default_rng([self._seed, 2, number + 1])
        begin = number * _BLOCK_SECONDS

        def moment() -> float:
            return begin + float(rng.uniform(0, _BLOCK_SECONDS))

        rain = None
        if rng.random() < 0.4:
            from_ = moment()
            rain = (from_, from_ + float(rng.uniform(12, 25)))
        lamp = None
        if rng.random() < 0.7:
            from_ = moment()
            lamp = (from_, from_ + float(rng.uniform(6, 20)))
        actors: list[Actor] = []
        for _ in range(int(rng.poisson(8))):
            at = moment()
            wet = rain is not None and rain[0] - 4 <= at <= rain[1]
            actors += self._group(rng, at, umbrellas=0.7 if wet else 0.08)
        for _ in range(int(rng.integers(1, 3))):
            actors.append(self._jogger(rng, moment()))
        for _ in range(int(rng.integers(0, 3))):
            actors += self._dog_walker(rng, moment())
        door = None
        if rng.random() < 0.85:
            at = moment()
            actors.append(self._through_door(rng, at))
            door = (at - 0.9, at + 3.0)
        return _Minute(tuple(actors), lamp, door, rain, moment() if rng.random() < 0.5 else None)

    def _group(self, rng: np.random.Generator, at: float, umbrellas: float) -> list[Actor]:
        size = int(rng.choice((1, 2, 3), p=(0.7, 0.2, 0.1)))
        side = int(rng.choice((-1, 1)))
        speed = float(rng.uniform(0.9, 1.55))
        z, away = self._lane(rng), self._lane(rng)
        if (z - self.crowd_z) * (away - self.crowd_z) < 0:
            away = z  # not through the crowd
        start = (self._edge(-side, z), z)
        middle = float(rng.uniform(-2.6, 2.6))
        how = rng.random()
        steps: list[Go | Stay]
        if how < 0.55:
            steps = [Go(self._edge(side, away), away, speed)]
        elif how < 0.85:
            pause = Stay(float(rng.uniform(1.5, 6)), float(rng.uniform(0, 2 * math.pi)))
            steps = [Go(middle, (z + away) / 2, speed), pause, Go(self._edge(side, away), away, speed)]
        else:
            steps = [Go(middle, z, speed), Stay(0.6), Go(self._edge(-side, away), away, speed)]
        group = []
        for index in range(size):
            aside, behind = 0.62 * index, float(rng.uniform(-0.3, 0.3)) * (index > 0)
            shifted = [replace(step, z=step.z + aside) if isinstance(step, Go) else step for step in steps]
            path = track(at + behind, (start[0], start[1] + aside), shifted, float(rng.uniform(0, 6)))
            group.append(Actor("person", self._random_look(rng, bool(rng.random() < umbrellas)), path))
        return group

    def _jogger(self, rng: np.random.Generator, at: float) -> Actor:
        side, z = int(rng.choice((-1, 1))), float(rng.uniform(BACK_Z - 0.6, BACK_Z))
        steps = [Go(self._edge(side, z), z, float(rng.uniform(2.2, 2.7)))]
        return Actor("person", self._random_look(rng), track(at, (self._edge(-side, z), z), steps))

    def _dog_walker(self, rng: np.random.Generator, at: float) -> list[Actor]:
        side, z, speed = int(rng.choice((-1, 1))), self._lane(rng), float(rng.uniform(1.0, 1.5))
        start, goal = self._edge(-side, z, 2.4), self._edge(side, z, 2.4)
        pause = Stay(float(rng.uniform(1, 4)))
        middle = float(rng.uniform(-2.4, 2.4))
        owner = track(at, (start, z), [Go(middle, z, speed), pause, Go(goal, z, speed)])
        roam: list[Go | Stay] = [Go(middle + side * 1.3, z - 0.4, speed)]
        for _ in range(2):  # the dog wanders while its owner pauses
            near = (middle + side * float(rng.uniform(0.6, 1.5)), z + float(rng.uniform(-0.9, 0.9)))
            roam.append(Go(*near, 1.4))
        rest = at + seconds_of((start, z), [Go(middle, z, speed), pause])
        spent = at + seconds_of((start + side * 1.3, z - 0.4), roam)
        roam += [Stay(max(rest - spent, 0.0)), Go(goal + side * 1.3, z - 0.4, speed)]
        dog = track(at, (start + side * 1.3, z - 0.4), roam)
        coat = _WARDROBE.dogs[int(rng.integers(len(_WARDROBE.dogs)))]
        look = self._random_look(rng)
        return [Actor("person", look, owner, leash_to=dog), Actor("dog", look, dog, coat)]

    def _through_door(self, rng: np.random.Generator, at: float) -> Actor:
        side, z, speed = int(rng.choice((-1, 1))), self._lane(rng), float(rng.uniform(1.0, 1.4))
        outside = (self._edge(side, z), z)
        door = (DOOR_X, FACADE_Z - 0.15)
        stop = DOOR_X, BACK_Z
        if rng.random() < 0.5:
            steps: list[Go | Stay] = [Stay(0.4), Go(*stop, speed), Go(*outside, speed)]
            return Actor("person", self._random_look(rng), track(at, door, steps))
        steps = [Go(*stop, speed), Go(*door, speed), Stay(0.3)]
        return Actor("person", self._random_look(rng), track(at + 1.5 - seconds_of(outside, steps), outside, steps))

    # The crowd

    def _gather(self, rng: np.random.Generator) -> list[_Member]:
        members = []
        count = int(rng.integers(5, 8))
        for index in range(count):
            turn = 2 * math.pi * index / count + float(rng.uniform(-0.2, 0.2))
            x = self.crowd_x + 1.1 * math.cos(turn) + float(rng.normal(0, 0.12))
            z = self.crowd_z + 0.7 * math.sin(turn) + float(rng.normal(0, 0.1))
            facing = math.atan2(self.crowd_x - x, self.crowd_z - z) + float(rng.normal(0, 0.4))
            members.append(_Member(self._random_look(rng), x, z, facing, float(rng.uniform(0.0, 0.5))))
        return members

    def _standing(self, member: _Member, seconds: float, runner: Staged | None) -> Posed:
        clock = seconds + 7.0 * member.nerve
        x, z, speed = member.x, member.z, 0.0
        if runner is not None and runner.passes is not None:  # step back from the runner
            (ax, az), (bx, bz) = runner.passes
            share = (seconds - runner.start) / (runner.end - runner.start)
            gap = math.hypot(ax + (bx - ax) * share - x, az + (bz - az) * share - z)
            fright = math.exp(-((gap / 1.6) ** 2))
            length = math.hypot(bx - ax, bz - az)
            across = ((x - ax) * (bz - az) - (z - az) * (bx - ax)) / length
            push = math.copysign(0.55 * fright, across)
            x, z, speed = x + push * (bz - az) / length, z - push * (bx - ax) / length, 1.2 * fright
        facing = member.facing + 0.25 * math.sin(0.31 * clock + 9 * member.nerve)
        talk = max(0.0, math.sin(0.45 * clock + 20 * member.nerve)) ** 2
        stance = Stance(x, z, facing, phase=5.0 * clock if speed else 0.0, speed=speed, clock=clock, talk=talk)
        return Posed("person", member.look, stance, (0, 0, 0), in_incident=False)

    def _strolling(self, seconds: float) -> tuple[Actor, ...]:
        """Return the crowd's actors while it is on a walk; else nothing."""
        for number in self._blocks(seconds):
            start = self._minute(number).stroll
            if start is not None and start <= seconds <= start + _CROWD_AWAY_SECONDS and self._may_stroll(start):
                return self._stroll(number, start)
        return ()

    def _may_stroll(self, start: float) -> bool:
        apart = _CROWD_AWAY_SECONDS + _INCIDENT_SECONDS
        return not any(
            each.kind in _NEED_THE_CROWD and abs(each.start - start) < apart
            for each in self._between(start - apart, start + apart)
        )

    def _write_stroll(self, number: int, start: float) -> tuple[Actor, ...]:
        rng = np.random.default_rng([self._seed, 5, number + 1])
        cast = []
        for member in self._crowd:
            side = int(rng.choice((-1, 1)))
            z = min(max(member.z + float(rng.uniform(-1.2, 1.2)), _NEAR_Z), BACK_Z)
            leave: list[Go | Stay] = [Stay(3 * member.nerve), Go(self._edge(side, z), z, float(rng.uniform(1.1, 1.5)))]
            cast.append(Actor("person", member.look, self._there_and_back(member, start, leave)))
        return tuple(cast)

    def _there_and_back(self, member: _Member, start: float, leave: Sequence[Go | Stay]) -> Track:
        """Return the track away by the steps ``leave`` and back to the place within ``_CROWD_AWAY_SECONDS``."""
        goal = leave[-1]
        assert isinstance(goal, Go)
        home: list[Go | Stay] = [Go(member.x, member.z, 1.35)]
        place = (member.x, member.z)
        spent = seconds_of(place, leave) + seconds_of((goal.x, goal.z), home)
        wait = Stay(max(_CROWD_AWAY_SECONDS - 0.5 - spent, 0.5))
        return track(start, place, [*leave, wait, *home, Stay(1.0, member.facing)])

    # Incidents

    def _kind(self, number: int) -> IncidentKind:
        """Return an incident's kind. Kinds are equally frequent: dealt like cards, reshuffled after each round."""
        if self._abandoned:
            return IncidentKind.ABANDONED
        while len(self._kinds) <= number:
            deck = list(MIXED_KINDS)
            rng = np.random.default_rng([self._seed, 3, len(self._kinds)])
            while True:
                rng.shuffle(deck)
                row = [*self._kinds[-1:], *deck]
                # A kind that needs the crowd cannot follow a scattering, and no kind comes twice in a row.
                if not any(a is b or (a is IncidentKind.SCATTER and b in _NEED_THE_CROWD) for a, b in pairwise(row)):
                    break
            self._kinds += [IncidentKind(kind) for kind in deck]
        return self._kinds[number]

    def _stage(self, number: int) -> Staged:
        kind = self._kind(number)
        rng = np.random.default_rng([self._seed, 4, number])
        slack = max(self._period - _LEAD_SECONDS - _INCIDENT_SECONDS, 0.0)
        start = number * self._period + _LEAD_SECONDS + float(rng.uniform(0, slack))
        match kind:
            case IncidentKind.CART | IncidentKind.BICYCLE:
                return self._vehicle(rng, number, kind, start)
            case IncidentKind.RUNNER:
                return self._runner(rng, number, start)
            case IncidentKind.SCUFFLE:
                return self._scuffle(rng, number, start)
            case IncidentKind.FALL:
                return self._fall(rng, number, start)
            case IncidentKind.SCATTER:
                return self._scatter(rng, number, start)
            case IncidentKind.ABANDONED:
                return self._abandon(rng, number)

    def _vehicle(self, rng: np.random.Generator, number: int, kind: IncidentKind, start: float) -> Staged:
        fast = kind is IncidentKind.BICYCLE
        side, z = int(rng.choice((-1, 1))), float(rng.uniform(WALKWAY[0] + 0.6, WALKWAY[1] - 0.7))
        speed = float(rng.uniform(2.9, 3.6) if fast else rng.uniform(2.3, 3.0))
        beyond = 1.0 if fast else 1.5
        path = track(start, (self._edge(-side, z, beyond), z), [Go(self._edge(side, z, beyond), z, speed)])
        colours: tuple[Colour, ...] = ((60, 110, 150), (188, 60, 48), (212, 168, 44), (232, 232, 228))
        actor = Actor(str(kind), self._random_look(rng), path, colours[int(rng.integers(len(colours)))])
        return Staged(number, kind, start, path.end, (actor,))

    def _runner(self, rng: np.random.Generator, number: int, start: float) -> Staged:
        side, speed = int(rng.choice((-1, 1))), float(rng.uniform(3.9, 4.6))
        tilt = float(rng.uniform(-0.6, 0.6))
        ends = []
        for sign in (-side, side):
            z = self.crowd_z + sign * side * tilt
            ends.append((self._edge(sign, z, 1.0), z))
        path = track(start, ends[0], [Go(*ends[1], speed)])
        actor = Actor("person", self._random_look(rng), path)
        return Staged(number, IncidentKind.RUNNER, start, path.end, (actor,), passes=(ends[0], ends[1]))

    @staticmethod
    def _foreground(rng: np.random.Generator) -> tuple[float, float]:
        """Return a random place in full view, nearer than the crowd and most walkers."""
        return float(rng.uniform(-2.0, 2.0)), float(rng.uniform(6.6, 7.8))

    def _scuffle(self, rng: np.random.Generator, number: int, start: float) -> Staged:
        x, z = self._foreground(rng)
        end = start + float(rng.uniform(4.5, 6.0))
        angle = float(rng.uniform(-0.5, 0.5))
        cast = []
        for side in (-1, 1):
            spot = (x + side * 0.36 * math.cos(angle), z + side * 0.36 * math.sin(angle))
            origin = (self._edge(side, z), z + float(rng.uniform(-0.8, 0.8)))
            steps: list[Go | Stay] = [Go(*spot, float(rng.uniform(1.2, 1.5)))]
            begin = start - seconds_of(origin, steps)
            facing = math.atan2(x - spot[0], z - spot[1])
            steps += [Stay(end - start, facing), Go(self._edge(side, z), z + side * 0.5, 1.4)]
            path = track(begin, origin, steps)
            cast.append(
                Actor(
                    "person",
                    self._random_look(rng),
                    path,
                    fights=(start, end),
                    fights_at=(x, z, angle + (side < 0) * math.pi),
                )
            )
        return Staged(number, IncidentKind.SCUFFLE, start, end, tuple(cast), place=(x, z))

    def _fall(self, rng: np.random.Generator, number: int, start: float) -> Staged:
        x, z = self._foreground(rng)
        end = start + float(rng.uniform(5.0, 6.5))
        side, speed = int(rng.choice((-1, 1))), float(rng.uniform(1.1, 1.5))
        origin, goal = (self._edge(-side, z), z + float(rng.uniform(-1, 1))), (self._edge(side, z), z)
        begin = start - seconds_of(origin, [Go(x, z, speed)])
        path = track(begin, origin, [Go(x, z, speed), Stay(end - start), Go(*goal, 1.1)])
        actor = Actor("person", self._random_look(rng), path, falls=(start, end))
        return Staged(number, IncidentKind.FALL, start, end, (actor,), place=(x, z))

    def _call_bystanders(self, number: int) -> tuple[Actor, ...]:
        """Return the people of the crowd who hurry to an incident: the nearest, unless the crowd is away."""
        staged = self._staged(number)
        if staged.kind not in _BYSTANDERS or self._crowd_away(staged.start - 1.0, staged.end + _WAY_BACK_SECONDS):
            return ()
        rng = np.random.default_rng([self._seed, 6, number])
        x, z = staged.place
        nearest = sorted(self._crowd, key=lambda member: math.hypot(member.x - x, member.z - z))
        coming = nearest[: _BYSTANDERS[staged.kind]]
        # Side by side about the place, each on the side of arrival.
        coming.sort(key=lambda member: member.x)
        bystanders = []
        for place, member in enumerate(coming):
            turn = 0.75 * (place - (len(coming) - 1) / 2) + float(rng.normal(0, 0.1))
            apart = 1.25 if staged.kind is IncidentKind.SCUFFLE else 0.85
            spot = (x + apart * math.sin(turn), z + apart * math.cos(turn))
            facing = math.atan2(x - spot[0], z - spot[1])
            hurry: list[Go | Stay] = [Stay(0.25 + member.nerve, member.facing), Go(*spot, float(rng.uniform(2.3, 3.0)))]
            here = staged.start + seconds_of((member.x, member.z), hurry)
            leaves = max(staged.end - 0.6, here)
            back = math.hypot(member.x - spot[0], member.z - spot[1]) / (staged.end + 1.8 - leaves)
            steps = [*hurry, Stay(leaves - here, facing), Go(member.x, member.z, back)]
            path = track(staged.start, (member.x, member.z), steps)
            bystanders.append(Actor("person", member.look, path, urges=(here, leaves)))
        return tuple(bystanders)

    def _crowd_away(self, from_: float, to: float) -> bool:
        """Return whether the crowd is scattered or on a walk at any moment of this time."""
        scattered = (
            each.kind is IncidentKind.SCATTER and each.start <= to and from_ <= each.start + _CROWD_AWAY_SECONDS
            for each in self._between(from_ - _CROWD_AWAY_SECONDS, to)
        )
        first, last = (math.floor(moment / _BLOCK_SECONDS) for moment in (from_, to))
        walks = (self._minute(number).stroll for number in range(first - 1, last + 1))
        strolling = (
            start is not None and start <= to and from_ <= start + _CROWD_AWAY_SECONDS and self._may_stroll(start)
            for start in walks
        )
        return any(scattered) or any(strolling)

    def _scatter(self, rng: np.random.Generator, number: int, start: float) -> Staged:
        cast, ends = [], []
        for member in self._crowd:
            turn = math.atan2(member.z - self.crowd_z, member.x - self.crowd_x) + float(rng.normal(0, 0.25))
            side = 1 if math.cos(turn) > 0 else -1
            speed = float(rng.uniform(2.5, 3.2))
            # Away from the middle first, then out of the courtyard.
            away = (
                member.x + 2.2 * math.cos(turn),
                min(max(member.z + 3.2 * math.sin(turn), 5.8), BACK_Z - 0.2),
            )
            z = min(max(away[1] + float(rng.uniform(-0.8, 0.8)), 5.6), BACK_Z)
            refuge = (self._edge(side, z, 1.0), z)
            flight: list[Go | Stay] = [Stay(member.nerve, member.facing), Go(*away, speed), Go(*refuge, speed)]
            ends.append(start + seconds_of((member.x, member.z), flight))
            cast.append(Actor("person", member.look, self._there_and_back(member, start, flight)))
        return Staged(number, IncidentKind.SCATTER, start, max(ends), tuple(cast))

    def _abandon(self, rng: np.random.Generator, number: int) -> Staged:
        """Stage a bag that its owner sets down near the period's begin and fetches near its end."""
        x, z = self._foreground(rng)
        side, away = (int(rng.choice((-1, 1))) for _ in range(2))
        colour = _WARDROBE.bags[int(rng.integers(len(_WARDROBE.bags)))]
        look = self._random_look(rng)
        beside = (x - 0.35 * side, z + 0.1)
        lane, far = z + float(rng.uniform(-0.8, 0.8)), z + float(rng.uniform(0.0, 1.0))
        origin, refuge = (self._edge(-side, lane), lane), (self._edge(away, far), far)
        arrive: list[Go | Stay] = [Go(*beside, float(rng.uniform(1.1, 1.5)))]
        leave: list[Go | Stay] = [Go(*refuge, float(rng.uniform(1.2, 1.5)))]
        come: list[Go | Stay] = [Go(*beside, float(rng.uniform(1.2, 1.5)))]
        enters = number * self._period + _LEAD_SECONDS + float(rng.uniform(0, 3))
        down = enters + seconds_of(origin, arrive) + _SET_DOWN_SECONDS / 2
        up = (number + 1) * self._period - _FETCHED_SECONDS - float(rng.uniform(0, 4))
        stands = np.array([x, z, float(rng.uniform(-0.6, 0.6)), 0.0, 0.0])
        bag = Actor("bag", look, Track(down, np.tile(stands, (int((up - down) * RATE) + 1, 1))), colour)
        up = bag.track.end
        begins = up - _SET_DOWN_SECONDS / 2 - seconds_of(refuge, come)
        pause = Stay(_SET_DOWN_SECONDS)
        owner = Actor("person", look, track(enters, origin, [*arrive, pause, *leave]), colour, carries=(enters, down))
        fetching = track(begins, refuge, [*come, pause, *leave])
        fetcher = Actor("person", look, fetching, colour, carries=(up, fetching.end))
        # The bag is alone when its owner is some 3 m away.
        alone = down + _SET_DOWN_SECONDS / 2 + _ALONE_SECONDS
        return Staged(number, IncidentKind.ABANDONED, alone, up, (bag,), place=(x, z), others=(owner, fetcher))


def _present(actors: Sequence[Actor], seconds: float, *, in_incident: bool) -> list[Posed]:
    here = (actor for actor in actors if actor.track.start <= seconds <= actor.track.end)
    return [_pose(actor, seconds, in_incident=in_incident) for actor in here]


def _pose(actor: Actor, seconds: float, *, in_incident: bool) -> Posed:
    x, z, heading, phase, speed = actor.track.at(seconds)
    stance = Stance(x, z, heading, phase, speed, clock=seconds + 3.7 * actor.look.height)
    if actor.falls is not None and actor.falls[0] <= seconds <= actor.falls[1]:
        down, up = seconds - actor.falls[0], actor.falls[1] - seconds
        stance = replace(stance, tilt=min(min(down / 0.75, 1.0) ** 2, min(up / 1.4, 1.0)), talk=0.8)
    if actor.fights is not None and actor.fights[0] <= seconds <= actor.fights[1]:
        share = min((seconds - actor.fights[0]) / 0.35, (actor.fights[1] - seconds) / 0.35, 1.0)
        cx, cz, angle = actor.fights_at
        angle += 0.5 * math.sin(1.7 * seconds)  # they turn about each other, close in and part
        apart = 0.42 + 0.16 * math.sin(5.1 * seconds)
        fx = cx + apart * math.cos(angle) + 0.45 * math.sin(2.3 * seconds)
        fz = cz + apart * math.sin(angle) + 0.25 * math.sin(3.1 * seconds)
        stance = replace(
            stance,
            x=(1 - share) * x + share * fx,
            z=(1 - share) * z + share * fz,
            heading=math.atan2(cx - fx, cz - fz),
            fight=share,
        )
    if actor.urges is not None and actor.urges[0] <= seconds <= actor.urges[1]:
        stance = replace(stance, talk=0.5 + 0.5 * math.sin(2.9 * stance.clock))
    leash_to = None
    if actor.leash_to is not None:
        dx, dz, turned, _, _ = actor.leash_to.at(seconds)
        leash_to = (dx + 0.3 * math.sin(turned), dz + 0.3 * math.cos(turned))
    carries = actor.carries is not None and actor.carries[0] < seconds < actor.carries[1]
    return Posed(actor.figure, actor.look, stance, actor.colour, in_incident, leash_to, carries)
