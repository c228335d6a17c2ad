"""The motion gate on rendered clips: still ones, moving ones, and those that only look as if something moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.gate import GateDecision, GateSettings, MotionGate, Why

T, H, W = 8, 64, 96
FLOOR, HANGOVER, LEARNING = 6, 3, 8
SETTINGS = GateSettings(floor=FLOOR, hangover=HANGOVER, learning=LEARNING)
Picture = npt.NDArray[np.float64]
Draw = Callable[[Picture, int, int], Picture]  # a picture, the clip, the frame in it: the changed picture


def scene() -> Picture:
    """Return a textured yard, grey (H, W)."""
    coarse = np.random.default_rng(5).uniform(40, 200, (H // 8, W // 8))
    return np.kron(coarse, np.ones((8, 8)))


def clips(count: int, draw: Draw = lambda picture, _clip, _frame: picture, noise: float = 2.0) -> Any:
    """Yield clips of the yard, uint8 (T, H, W, 3), each picture changed by ``draw`` before the sensor's noise."""
    rng = np.random.default_rng(1)
    for number in range(count):
        pictures = np.stack([draw(scene().copy(), number, frame) for frame in range(T)])
        grey = pictures[..., None] + rng.normal(0, noise, (T, H, W, 1))
        yield np.repeat(grey.clip(0, 255).round().astype(np.uint8), 3, axis=3)


def decide(count: int, draw: Draw = lambda picture, _clip, _frame: picture, **options: Any) -> list[GateDecision]:
    gate = MotionGate(options.pop("settings", SETTINGS))
    hidden = options.pop("hidden", None)
    return [gate.push("s", clip, hidden) for clip in clips(count, draw, **options)]


def whys(decisions: list[GateDecision]) -> list[Why]:
    return [one.why for one in decisions]


def moving_after_learning(decisions: list[GateDecision]) -> int:
    return whys(decisions).count(Why.MOTION)


def square(picture: Picture, top: float, left: float, side: int = 10, level: float = 60.0) -> Picture:
    """Draw a brighter square, whose edges lie between pixels."""
    rows = np.clip(np.minimum(np.arange(H) + 1 - top, top + side - np.arange(H)), 0, 1)
    columns = np.clip(np.minimum(np.arange(W) + 1 - left, left + side - np.arange(W)), 0, 1)
    return picture + level * np.outer(rows, columns)


def test_of_a_still_camera_one_clip_in_so_many_is_sent() -> None:
    expected = [Why.LEARNING] * LEARNING + [Why.STILL] * (FLOOR - 1) + [Why.FLOOR] + [Why.STILL] * (FLOOR - 1)
    decisions = decide(LEARNING + 2 * FLOOR - 1)
    assert whys(decisions) == expected
    assert [one.sent for one in decisions] == [why is not Why.STILL for why in expected]


def test_movement_is_sent_and_the_clips_after_it() -> None:
    def crossing(picture: Picture, clip: int, frame: int) -> Picture:
        return square(picture, 20, 4 + 6 * frame) if clip == LEARNING + 2 else picture

    after = [Why.STILL, Why.STILL, Why.MOTION, *[Why.HANGOVER] * HANGOVER, Why.STILL]
    found = whys(decide(LEARNING + 7, crossing))[LEARNING:]
    # The clip after it differs from the last that was sent: the square is gone.
    assert found in (after, [Why.STILL, Why.STILL, Why.MOTION, Why.MOTION, *[Why.HANGOVER] * HANGOVER])


@pytest.mark.parametrize("pixels_a_clip", [0.25, 1.0, 4.0])
def test_a_small_slow_object_is_movement(pixels_a_clip: float) -> None:
    """Its movement within a clip is next to nothing; it shows against the picture that was last sent."""

    def creeping(picture: Picture, clip: int, frame: int) -> Picture:
        at = max(0.0, clip - LEARNING + frame / T) * pixels_a_clip
        return square(picture, 20, 20 + at)

    count = LEARNING + round(min(60, 64 / pixels_a_clip))  # it stays in the picture
    decisions = decide(count, creeping, settings=GateSettings(floor=1000, hangover=1, learning=LEARNING))
    between = [len(list(run)) for sent, run in groupby(one.sent for one in decisions[LEARNING:]) if not sent]
    assert moving_after_learning(decisions) >= 2
    assert max(between, default=0) * pixels_a_clip <= 3, "it is sent again before it has moved three pixels"


@pytest.mark.parametrize("appears", [True, False])
def test_a_thing_left_behind_or_taken_away_is_movement_once(appears: bool) -> None:
    def standing(picture: Picture, clip: int, _frame: int) -> Picture:
        return square(picture, 20, 20) if (clip >= LEARNING + 2) is appears else picture

    found = whys(decide(LEARNING + 8, standing))[LEARNING:]
    assert found[:7] == [Why.STILL, Why.STILL, Why.MOTION, *[Why.HANGOVER] * HANGOVER, Why.STILL]


CHANGES_OF_LIGHT: dict[str, Draw] = {
    "a gain that rises by 1 % a clip": lambda picture, clip, _frame: picture * (0.6 + 0.01 * clip),
    "a gain that falls by half in one clip": lambda picture, clip, _frame: picture * (0.5 if clip > 12 else 1.0),
    "an offset of 20 levels": lambda picture, clip, _frame: picture + (20 if clip > 12 else 0),
    "an exposure that is corrected within a clip": lambda picture, _clip, frame: picture * (1 - 0.02 * frame),
    "a lamp that flickers": lambda picture, clip, frame: picture * (1 + 0.1 * np.sin(2.1 * (T * clip + frame))),
}


@pytest.mark.parametrize("light", CHANGES_OF_LIGHT)
def test_light_that_changes_everywhere_is_not_movement(light: str) -> None:
    assert moving_after_learning(decide(LEARNING + 30, CHANGES_OF_LIGHT[light])) == 0


def hazy(picture: Picture, clip: int, _frame: int) -> Picture:
    """Let smoke of 150 levels rise in ten steps to nine tenths."""
    share = 0.09 * min(10, max(0, clip - LEARNING - 1))
    return (1 - share) * picture + share * 150


def uncovered(picture: Picture, clip: int, _frame: int) -> Picture:
    return picture if clip >= LEARNING + 2 else 60 + 0.02 * picture


GONE: dict[str, Draw] = {
    "a covered lens": lambda picture, clip, _frame: 0 * picture + 12 if clip >= LEARNING + 2 else picture,
    "smoke": hazy,
    "an uncovered lens": uncovered,
    "a negative": lambda picture, clip, _frame: 255 - picture if clip >= LEARNING + 2 else picture,
}


@pytest.mark.parametrize("change", GONE)
def test_a_picture_that_is_lost_or_comes_back_is_movement(change: str) -> None:
    assert moving_after_learning(decide(LEARNING + 14, GONE[change], settings=replace(SETTINGS, floor=1000))) >= 1


def test_somebody_who_walks_while_the_light_changes_is_movement() -> None:
    def walking(picture: Picture, clip: int, frame: int) -> Picture:
        lit = picture * (0.6 + 0.01 * clip)
        return square(lit, 20, 4 + 3 * frame) if clip >= LEARNING else lit

    assert moving_after_learning(decide(LEARNING + 10, walking)) == 10


def leaves(picture: Picture, clip: int, frame: int) -> Picture:
    """Let the left third of the picture sway."""
    shift = 3 * np.sin(1.7 * (T * clip + frame))
    part = picture[:, : W // 3]
    picture[:, : W // 3] = part + shift * np.sign(np.gradient(part, axis=1) + 0.01)
    return picture


def test_what_always_moves_becomes_noise_where_it_is_and_nowhere_else() -> None:
    settings = GateSettings(floor=FLOOR, hangover=1, learning=16)
    assert moving_after_learning(decide(60, leaves, settings=settings)) == 0

    def somebody_too(picture: Picture, clip: int, frame: int) -> Picture:
        swaying = leaves(picture, clip, frame)
        return square(swaying, 20, 40 + 5 * frame) if clip >= 16 else swaying

    assert moving_after_learning(decide(26, somebody_too, settings=settings)) == 10


def test_somebody_who_stays_for_six_minutes_does_not_become_noise() -> None:
    """Six hundred clips: the noise has a ceiling, and they move more than that."""

    def fidgeting(picture: Picture, clip: int, frame: int) -> Picture:
        return square(picture, 20 + (3 * clip + 5 * frame) % 7, 20 + (5 * clip + 3 * frame) % 7, side=16, level=90)

    decisions = decide(600, fidgeting)
    assert all(one.why is Why.MOTION for one in decisions[LEARNING:])


def test_movement_in_hidden_places_does_not_count() -> None:
    hidden = np.zeros((H, W), np.bool_)
    hidden[:, :48] = True

    def on(left: int) -> Draw:
        return lambda picture, clip, frame: square(picture, 20, left + 3 * frame) if clip >= LEARNING else picture

    assert moving_after_learning(decide(LEARNING + 6, on(8), hidden=hidden)) == 0
    assert moving_after_learning(decide(LEARNING + 6, on(60), hidden=hidden)) == 6
    assert moving_after_learning(decide(LEARNING + 6, on(60), hidden=~hidden)) == 0


def test_where_all_is_hidden_the_floor_rate_remains() -> None:
    found = whys(decide(LEARNING + FLOOR, hidden=np.ones((H, W), np.bool_)))
    assert found[LEARNING:] == [Why.STILL] * (FLOOR - 1) + [Why.FLOOR]


def test_another_segment_or_size_is_learned_anew() -> None:
    gate = MotionGate(SETTINGS)
    for clip in clips(LEARNING + 1):
        last = gate.push("s", clip)
    assert last.why is Why.STILL
    assert [gate.push("t", clip).why for clip in clips(LEARNING + 1)] == [Why.LEARNING] * LEARNING + [Why.STILL]
    smaller = [gate.push("t", clip[:, :40]).why for clip in clips(LEARNING + 1)]
    assert smaller == [Why.LEARNING] * LEARNING + [Why.STILL]


def test_other_settings_apply_from_the_next_clip_on_and_nothing_is_learned_anew() -> None:
    gate = MotionGate(SETTINGS)
    for clip in clips(LEARNING + 1):
        last = gate.push("s", clip)
    assert last.why is Why.STILL
    gate.retune(replace(SETTINGS, floor=2))
    assert [gate.push("s", clip).why for clip in clips(4)] == [Why.FLOOR, Why.STILL, Why.FLOOR, Why.STILL]


@pytest.mark.parametrize("shape", [(1, 30, 50), (3, 33, 39), (16, 100, 75)])
def test_clips_of_any_size(shape: tuple[int, int, int]) -> None:
    gate = MotionGate(SETTINGS)
    rng = np.random.default_rng(2)
    picture = rng.integers(50, 200, (*shape[1:], 3))
    found = []
    for _ in range(LEARNING + 2):
        noisy = picture + rng.normal(0, 1, (shape[0], *shape[1:], 3))
        found.append(gate.push("s", noisy.clip(0, 255).astype(np.uint8)).why)
    assert found[LEARNING:] == [Why.STILL, Why.STILL]


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 16, 16), (3, 7, 5), (2, 24, 40)])
def test_pictures_too_small_to_be_judged_are_always_sent(shape: tuple[int, int, int]) -> None:
    gate = MotionGate(SETTINGS)
    clip = np.full((*shape, 3), 90, np.uint8)
    found = {gate.push("s", clip).why for _ in range(2 * LEARNING + FLOOR)}
    assert found == {Why.TOO_SMALL}


@settings(max_examples=5, deadline=None)
@given(st.lists(st.booleans(), min_size=20, max_size=40))
def test_floor_and_hangover_hold_for_any_course_of_movement(moves: list[bool]) -> None:
    def sometimes(picture: Picture, clip: int, frame: int) -> Picture:
        return square(picture, 20, 4 + 6 * frame) if moves[clip] else picture

    decisions = decide(len(moves), sometimes)
    assert decide(len(moves), sometimes) == decisions, "the footage alone decides"
    assert all(len(list(run)) < FLOOR for sent, run in groupby(one.sent for one in decisions) if not sent)
    for number, one in enumerate(decisions):
        assert one.sent == (one.why is not Why.STILL)
        if one.why is Why.MOTION:
            assert all(each.sent for each in decisions[number : number + HANGOVER + 1])
    assert all(one.why is Why.LEARNING for one in decisions[:LEARNING])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"floor": 0}, "floor"), ({"hangover": 0}, "hangover"), ({"learning": 1}, "learning"), ({"floor": 2.5}, "floor")],
)
def test_settings_that_cannot_be(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        GateSettings(**changes)


@pytest.mark.parametrize("clip", [np.zeros((2, 16, 16), np.uint8), np.zeros((2, 16, 16, 3), np.float32)])
def test_pixels_that_are_no_clip(clip: Any) -> None:
    with pytest.raises(ValueError, match=r"clip must be uint8 \(T, H, W, 3\)"):
        MotionGate(SETTINGS).push("s", clip)
