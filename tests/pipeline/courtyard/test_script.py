"""The courtyard's play: nobody is in two places, nobody jumps, and the crowd takes notice of what happens."""

from __future__ import annotations

import itertools
import math

import pytest

from pipeline.courtyard.layout import view
from pipeline.courtyard.script import Posed, Script
from pipeline.courtyard.settings import IncidentKind

SEEDS = (4242, 4243, 4244, 4245)  # of no training, no demo, no bench
STEP = 0.1  #: seconds
FASTEST = 5.0  #: metres a second; a runner's 4.6 and a little for the corners


def play(seed: int) -> Script:
    return Script(seed, view(640, 360), incidents_per_minute=6)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_in_two_places_and_nobody_jumps(seed: int) -> None:
    script = play(seed)
    before: dict[int, Posed] = {}
    for moment in range(1, 1200):
        cast = [posed for posed in script.cast(moment * STEP) if posed.figure == "person"]
        here = {id(posed.look): posed for posed in cast if posed.leash_to is None}
        assert len({id(posed.look) for posed in cast}) == len(cast), f"somebody is there twice at {moment * STEP:.1f} s"
        for who, posed in here.items():
            if who in before and posed.stance.fight == before[who].stance.fight == 0:
                was, now = before[who].stance, posed.stance
                assert math.hypot(now.x - was.x, now.z - was.z) < FASTEST * STEP, f"jumped at {moment * STEP:.1f} s"
        before = here


def test_bystanders_stand_about_who_has_fallen_and_go_back() -> None:
    """In most falls somebody comes: not when the crowd has just run away, or is on a walk."""
    helped = []
    for seed in SEEDS:
        script = play(seed)
        for staged in script.staged_until(120):
            if staged.kind is not IncidentKind.FALL:
                continue
            about = []
            for seconds in (staged.start, staged.end - 1.0, staged.end + 1.9):
                everybody = [each.stance for each in script.cast(seconds) if not each.in_incident]
                about.append(
                    sum(each.speed < 0.3 and math.dist((each.x, each.z), staged.place) < 1.1 for each in everybody)
                )
            helped.append(tuple(about))
    came = [about for about in helped if about[1] >= 3]
    assert len(came) > len(helped) / 2
    assert all(before == 0 and after == 0 for before, _, after in came)


def test_a_play_can_be_asked_for_any_moment_first() -> None:
    forward, backward = play(SEEDS[0]), play(SEEDS[0])
    moments = [0.5 + 7.3 * number for number in range(16)]
    there = {seconds: forward.cast(seconds) for seconds in moments}
    assert all(backward.cast(seconds) == there[seconds] for seconds in reversed(moments))
    assert any(one != other for one, other in itertools.pairwise(there.values()))


def abandoning(seed: int) -> Script:
    return Script(seed, view(640, 360), incidents_per_minute=1, abandoned=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_owner_brings_a_bag_leaves_it_and_fetches_it(seed: int) -> None:
    """It is in a hand or on the ground, never both, and while it is alone its owner is 2 m away or farther."""
    script = abandoning(seed)
    (staged,) = script.staged_until(50)
    (owner, _) = staged.others
    held, lies, alone = [], [], []
    for moment in range(600):
        cast = script.cast(moment * STEP)
        held.append(any(each.carries for each in cast))
        lies.append(any(each.figure == "bag" for each in cast))
        owners = [each.stance for each in cast if each.look is owner.look and each.figure == "person"]
        if staged.start <= moment * STEP <= staged.end - 3:
            alone += [math.dist((one.x, one.z), staged.place) for one in owners]
    assert not any(one and other for one, other in zip(held, lies, strict=True))
    assert lies.index(True) == held.index(True) + held[held.index(True) :].index(False)
    assert min(alone, default=math.inf) > 2
    assert all(not each.in_incident or each.figure == "bag" for each in script.cast(staged.start + 1))


def test_nothing_else_of_the_play_changes_with_an_abandoned_object() -> None:
    script, calm = abandoning(SEEDS[0]), Script(SEEDS[0], view(640, 360), incidents_per_minute=0)
    (staged,) = script.staged_until(50)
    of_it = {id(actor.look) for actor in (*staged.cast, *staged.others)}
    for seconds in (5.0, 20.0, 45.0):
        others = [each for each in script.cast(seconds) if id(each.look) not in of_it]
        assert others == calm.cast(seconds)
