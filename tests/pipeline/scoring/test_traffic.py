"""The clips on their way, by tables: turns, limits, shedding, suspects, retiring. No server, no thread."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.scoring.outcomes import Dropped, DropReason
from pipeline.scoring.target import Target
from pipeline.scoring.traffic import Clip, Lane, Traffic

ANY = 99


def lane(
    camera: str, detector: str = "", *, live: bool = False, capacity: int = 3, model: str = "m", part: str = ""
) -> Lane:
    return Lane(camera, detector, Target(model, part), live, capacity)


def opened(*lanes: Lane, max_in_flight: int = 8) -> Traffic:
    traffic = Traffic(max_in_flight)
    for each in lanes:
        traffic.open(each)
    return traffic


def send(traffic: Traffic, **limits: int) -> Clip | None:
    """Send the next clip, with these limits by model, or by part."""
    turn = traffic.next_lane(lambda target: limits.get(target.part or target.model, ANY))
    return None if turn is None else traffic.send(turn, now=0.0)


def sent(traffic: Traffic, **limits: int) -> list[tuple[str, int]]:
    """Send as many clips as possible; return their lanes and indices."""
    clips = iter(lambda: send(traffic, **limits), None)
    return [(str(clip.lane), clip.window.index) for clip in clips]


def outcomes(of: Lane) -> list[tuple[int, str]]:
    """Deliver the outcomes of a lane: the windows' indices and the reasons of their dropping."""
    found = []
    while of.has_outcome:
        outcome = of.next_outcome()
        assert isinstance(outcome, Dropped)
        found.append((outcome.window.index, outcome.reason.value))
        of.delivered()
    return found


def dropped(clip: Clip) -> Dropped:
    return Dropped(clip.window, DropReason.ERROR)


def test_cameras_have_turns_and_within_them_their_detectors(kit: Any) -> None:
    one, two, gate = lane("yard", "fights"), lane("yard", "fires"), lane("gate")
    traffic = opened(one, two, gate, max_in_flight=6)
    for each in (one, two, gate):
        for index in range(3):
            traffic.submit(each, kit.window(each.camera, index))
    assert sent(traffic) == [
        ("yard/fights", 0), ("gate", 0), ("yard/fires", 0), ("gate", 1), ("yard/fights", 1), ("gate", 2),
    ]  # fmt: skip
    assert len(traffic.in_flight) == 6


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ["a", "b", "a", "b"]),
        ({"one": 0}, ["b", "b", "b"]),
        ({"one": 1}, ["a", "b", "b", "b"]),
        ({"one": 0, "two": 0}, []),
    ],
)
def test_a_model_that_is_held_up_leaves_the_others_alone(kit: Any, limits: dict[str, int], expected: list[str]) -> None:
    a, b = lane("a", model="one"), lane("b", model="two")
    traffic = opened(a, b, max_in_flight=4)
    for each in (a, b):
        for index in range(3):
            traffic.submit(each, kit.window(each.camera, index))
    assert [camera for camera, _ in sent(traffic, **limits)] == expected


def test_a_live_lane_drops_its_oldest_clips_with_the_reason(kit: Any) -> None:
    gate = lane("gate", live=True, capacity=2)
    traffic = opened(gate)
    for index in range(4):
        traffic.submit(gate, kit.window("gate", index), away=index == 3)
    assert outcomes(gate) == [(0, "overload"), (1, "unavailable")]
    assert sent(traffic) == [("gate", 2), ("gate", 3)]


def test_a_recording_has_room_until_its_queue_is_full_or_its_consumer_is_behind(kit: Any) -> None:
    film = lane("film", capacity=2)
    traffic = opened(film)
    for index in range(2):
        assert traffic.has_room(film)
        traffic.submit(film, kit.window("film", index))
    assert not traffic.has_room(film)
    for clip in (send(traffic), send(traffic)):
        assert traffic.has_room(film)
        assert clip is not None
        traffic.settle(clip, dropped(clip))
    assert not traffic.has_room(film), "two outcomes are not delivered"
    assert len(outcomes(film)) == 2
    assert traffic.has_room(film)
    traffic.retire(film)
    assert traffic.has_room(film), "a submitter must not wait for a closed lane"


def test_a_misfit_is_dropped_at_once(kit: Any) -> None:
    film = lane("film")
    traffic = opened(film)
    traffic.submit(film, kit.window("film", 0), misfit="too small")
    assert outcomes(film) == [(0, "error")]
    assert sent(traffic) == []


def test_a_clip_that_comes_back_goes_in_front(kit: Any) -> None:
    film = lane("film")
    traffic = opened(film)
    for index in range(3):
        traffic.submit(film, kit.window("film", index))
    first, second = send(traffic), send(traffic)
    assert first
    assert second
    traffic.settle(first, None)
    traffic.settle(second, None)
    assert sent(traffic) == [("film", 0), ("film", 1), ("film", 2)]


def test_a_live_clip_that_comes_back_to_a_full_queue_is_the_oldest(kit: Any) -> None:
    gate = lane("gate", live=True, capacity=1)
    traffic = opened(gate)
    traffic.submit(gate, kit.window("gate", 0))
    clip = send(traffic)
    assert clip
    traffic.submit(gate, kit.window("gate", 1))
    traffic.settle(clip, None, away=True)
    assert outcomes(gate) == [(0, "unavailable")]


def test_a_suspect_is_sent_alone_to_its_model(kit: Any) -> None:
    a, b, other = lane("a"), lane("b"), lane("c", model="other")
    traffic = opened(a, b, other)
    for each in (a, b, other):
        for index in range(2):
            traffic.submit(each, kit.window(each.camera, index))
    clip = send(traffic)
    assert clip is not None
    assert clip.lane is a
    traffic.suspect(clip)
    traffic.settle(clip, None)
    assert sent(traffic) == [("b", 0), ("c", 0), ("c", 1)]  # one clip to its model, any number to the other
    (before,) = (each for each in traffic.in_flight if each.lane is b)
    traffic.settle(before, dropped(before))
    again = send(traffic)
    assert again is clip
    assert send(traffic) is None
    traffic.settle(again, dropped(again))
    assert sent(traffic) == [("b", 1), ("a", 1)]


def test_retiring_a_lane_drops_its_waiting_clips_and_frees_its_name(kit: Any) -> None:
    film, changes = lane("film"), []
    film.changed = lambda: changes.append(film.closed)
    traffic = opened(film)
    for index in range(3):
        traffic.submit(film, kit.window("film", index))
    clip = send(traffic)
    assert clip
    traffic.retire(film)
    traffic.retire(film)  # once more is harmless
    assert outcomes(film) == [(1, "shutdown"), (2, "shutdown")]
    assert not film.is_over
    traffic.open(lane("film"))
    traffic.settle(clip, None)  # it would be sent again
    assert outcomes(film) == [(0, "shutdown")]
    assert film.is_over
    assert changes[-1], "those that wait for the lane heard of its end"


def test_an_abandoned_clip_is_dropped_and_its_late_answer_ignored(kit: Any) -> None:
    film = lane("film")
    traffic = opened(film)
    traffic.submit(film, kit.window("film", 0))
    clip = send(traffic)
    assert clip
    traffic.suspect(clip)
    traffic.abandon(clip)
    assert not traffic.settle(clip, dropped(clip))
    assert outcomes(film) == [(0, "shutdown")]
    assert traffic.in_flight == []
    traffic.submit(film, kit.window("film", 1))
    traffic.submit(film, kit.window("film", 2))
    assert len(sent(traffic)) == 2, "an abandoned suspect still holds up its model"


def test_models_with_waiting_clips(kit: Any) -> None:
    a, b = lane("a", model="one"), lane("b", model="two")
    traffic = opened(a, b)
    traffic.submit(a, kit.window("a", 0))
    assert traffic.waiting_targets == {Target("one")}
    send(traffic)
    assert traffic.waiting_targets == set()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lane("yard", "fights"), "yard/fights: added twice"),
        (lane("gate", capacity=0), "gate: capacity must be at least 1, got 0"),
    ],
)
def test_refuses(other: Lane, message: str) -> None:
    traffic = opened(lane("yard", "fights"))
    with pytest.raises(ValueError, match=message):
        traffic.open(other)
    traffic.open(lane("yard", "fires"))


class TestParts:
    """Two cameras whose parts one model hosts."""

    def cameras(self, kit: Any) -> Traffic:
        gate, yard = lane("gate", part="gate"), lane("yard", part="yard")
        traffic = opened(gate, yard)
        for each in (gate, yard):
            for index in range(3):
                traffic.submit(each, kit.window(each.camera, index))
        return traffic

    def test_a_part_that_is_held_up_leaves_the_other_its_turns(self, kit: Any) -> None:
        assert sent(self.cameras(kit), gate=0) == [("yard", 0), ("yard", 1), ("yard", 2)]

    def test_a_part_on_probation_sends_beside_the_traffic_of_the_other(self, kit: Any) -> None:
        assert sorted(sent(self.cameras(kit), gate=1)) == [("gate", 0), ("yard", 0), ("yard", 1), ("yard", 2)]

    def test_a_limit_of_the_model_counts_the_clips_of_all_its_parts(self, kit: Any) -> None:
        assert sorted(sent(self.cameras(kit), m=2)) == [("gate", 0), ("yard", 0)]

    def test_a_suspect_is_sent_without_a_clip_of_any_other_part_in_its_batch(self, kit: Any) -> None:
        traffic = self.cameras(kit)
        first = send(traffic)
        assert first
        traffic.suspect(first)
        traffic.settle(first, None)
        assert len(sent(traffic)) == 1
