"""The fair queue: nothing lost, order kept, turns equal, for any sequence of calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.scoring.fair_queue import FairQueue

CAMERAS = ("a", "b", "c", "d")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Item:
    ticket: int


def take(queue: FairQueue[K, Item], ready: Callable[[K], bool] = lambda _key: True) -> tuple[K, Item] | None:
    key = queue.next(ready)
    return None if key is None else (key, queue.take(key))


def test_serves_cameras_in_turn() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    for camera in "abc":
        queue.add(camera, 9)
    for ticket, camera in enumerate("aaabbc"):
        queue.put(camera, Item(ticket))
    taken = [take(queue) for _ in range(7)]
    assert [pair and (pair[0], pair[1].ticket) for pair in taken] == [
        ("a", 0), ("b", 3), ("c", 5), ("a", 1), ("b", 4), ("a", 2), None,
    ]  # fmt: skip


def test_a_camera_that_comes_late_is_served_before_those_that_had_their_turn() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    for camera in "ab":
        queue.add(camera, 9)
    for ticket in range(3):
        queue.put("a", Item(ticket))
    assert take(queue) == ("a", Item(0))
    queue.put("b", Item(9))
    assert take(queue) == ("b", Item(9))


def test_an_item_that_comes_back_goes_in_front() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    queue.add("a", 9)
    for ticket in range(3):
        queue.put("a", Item(ticket))
    first, second = take(queue), take(queue)
    assert first
    assert second
    queue.put(*first)  # they come back in any order
    queue.put(*second)
    assert [take(queue) for _ in range(3)] == [("a", Item(0)), ("a", Item(1)), ("a", Item(2))]


@pytest.mark.parametrize(
    ("key", "capacity", "message"),
    [("a", 4, "a: added twice"), ("b", 0, "b: capacity must be at least 1, got 0")],
)
def test_refuses(key: str, capacity: int, message: str) -> None:
    queue: FairQueue[str, Item] = FairQueue()
    queue.add("a", 4)
    with pytest.raises(ValueError, match=message):
        queue.add(key, capacity)


@given(
    phases=st.lists(st.integers(0, 19), min_size=2, max_size=6),
    overload=st.integers(2, 4),
    capacity=st.integers(1, 4),
)
def test_equal_cameras_get_equal_shares_under_overload(phases: list[int], overload: int, capacity: int) -> None:
    """Each camera offers a clip every 20 ticks from its own phase on; the server takes 1/overload of them."""
    queue: FairQueue[int, Item] = FairQueue()
    for camera in range(len(phases)):
        queue.add(camera, capacity)
    served = dict.fromkeys(range(len(phases)), 0)
    period = 20
    service = period * overload / len(phases)
    free_at = float(period)  # all have begun by then
    for tick in range(period * 200):
        for camera, phase in enumerate(phases):
            if tick % period == phase:
                queue.put(camera, Item(tick))
                queue.overflow(camera)
        while free_at <= tick and (taken := take(queue)):
            served[taken[0]] += 1
            free_at += service
    assert sum(served.values()) > 0.9 * period * 199 / service  # it was busy
    assert max(served.values()) - min(served.values()) <= 2


def test_a_group_has_one_turn_whatever_its_number_of_lanes() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    for lane in ("a1", "a2", "a3", "b1"):
        queue.add(lane, 9, group=lane[0])
        for ticket in range(4):
            queue.put(lane, Item(ticket))
    taken = [pair[0] for _ in range(8) if (pair := take(queue))]
    assert taken == ["a1", "b1", "a2", "b1", "a3", "b1", "a1", "b1"]


def test_a_lane_that_is_not_ready_is_passed_over_and_keeps_its_place() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    for lane in ("a1", "a2", "b1"):
        queue.add(lane, 9, group=lane[0])
        for ticket in range(3):
            queue.put(lane, Item(ticket))
    assert take(queue, lambda lane: lane != "a1") == ("a2", Item(0))
    assert take(queue, lambda lane: lane != "b1") == ("a1", Item(0))
    assert take(queue, lambda _lane: False) is None
    assert take(queue) == ("b1", Item(0))


@given(
    detectors=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.sets(st.integers(0, 3))), max_size=60
    ),
)
def test_fair_between_cameras_and_within_each_between_its_detectors(
    detectors: list[int], steps: list[tuple[int, int, int, set[int]]]
) -> None:
    """Items arrive anywhere and turns are taken in any mixture, with any detectors held up (as by an outage)."""
    queue: FairQueue[tuple[int, int], Item] = FairQueue()
    waiting = {(camera, each): 0 for camera, number in enumerate(detectors) for each in range(number)}
    for key in waiting:
        queue.add(key, 99, group=key[0])
    camera_turns: dict[int, Counter[int]] = {}  # of the others, since a camera that never ran empty had its own
    lane_turns: dict[tuple[int, int], Counter[tuple[int, int]]] = {}  # the same between detectors of one camera
    for ticket, (camera, detector, turns_now, held_up) in enumerate(steps):
        key = (camera % len(detectors), detector % detectors[camera % len(detectors)])
        queue.put(key, Item(ticket))
        waiting[key] += 1
        for _ in range(turns_now):
            ready = {key for key, items in waiting.items() if items and key[1] not in held_up}
            camera_turns = {camera: camera_turns.get(camera, Counter()) for camera, _ in ready}
            lane_turns = {each: lane_turns.get(each, Counter()) for each in ready}
            turn = queue.next(ready.__contains__)
            assert (turn is None) == (not ready)
            if turn is None:
                break
            queue.take(turn)
            waiting[turn] -= 1
            camera_turns.pop(turn[0])
            lane_turns.pop(turn)
            for turns in camera_turns.values():
                turns[turn[0]] += 1
                assert turns[turn[0]] == 1, "a camera had two turns while another was waiting"
            for lane, turns_of_lanes in lane_turns.items():
                if lane[0] == turn[0]:
                    turns_of_lanes[turn] += 1
                    assert turns_of_lanes[turn] == 1, "a detector had two turns while another of its camera was waiting"


class Machine(RuleBasedStateMachine):
    """Against the plainest model: a sorted list a camera, and the count of turns."""

    @initialize(capacity=st.integers(1, 3))
    def begin(self, capacity: int) -> None:
        self.capacity = capacity
        self.queue: FairQueue[str, Item] = FairQueue()
        self.waiting: dict[str, list[int]] = {}
        self.away: list[tuple[str, int]] = []  # taken, may come back
        self.ticket = 0
        self.turns_since: dict[str, dict[str, int]] = {}  # of the others, since a camera that waits had its own turn
        for camera in CAMERAS:
            self._add(camera)

    def _add(self, camera: str) -> None:
        self.queue.add(camera, self.capacity)
        self.waiting[camera] = []

    @rule(camera=st.sampled_from(CAMERAS))
    def put(self, camera: str) -> None:
        assert self.queue.full(camera) == (len(self.waiting[camera]) >= self.capacity)
        self.queue.put(camera, Item(self.ticket))
        self.waiting[camera].append(self.ticket)
        self.ticket += 1
        self._shed(camera)

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if self.away:
            camera, ticket = self.away.pop(data.draw(st.integers(0, len(self.away) - 1)))
            self.queue.put(camera, Item(ticket))
            self.waiting[camera] = sorted([*self.waiting[camera], ticket])
            self._shed(camera)

    def _shed(self, camera: str) -> None:
        oldest = self.queue.overflow(camera)
        if len(self.waiting[camera]) > self.capacity:
            assert oldest == Item(self.waiting[camera].pop(0))
        else:
            assert oldest is None

    @rule()
    def take(self) -> None:
        taken = take(self.queue)
        if taken is None:
            assert not any(self.waiting.values())
            return
        camera, item = taken
        assert item.ticket == self.waiting[camera].pop(0)
        self.away.append((camera, item.ticket))
        for waits, turns in self.turns_since.items():
            if waits != camera:
                turns[camera] = turns.get(camera, 0) + 1
                assert turns[camera] <= 1, f"{camera} had two turns while {waits} was waiting"
        self.turns_since.pop(camera, None)

    @rule(camera=st.sampled_from(CAMERAS))
    def replace_camera(self, camera: str) -> None:
        assert [item.ticket for item in self.queue.remove(camera)] == self.waiting[camera]
        self.away = [(name, ticket) for name, ticket in self.away if name != camera]
        self.turns_since.pop(camera, None)
        for turns in self.turns_since.values():
            turns.pop(camera, None)
        self._add(camera)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "waiting"):
            return
        assert len(self.queue) == sum(map(len, self.waiting.values()))
        for camera, waiting in self.waiting.items():
            if waiting:
                self.turns_since.setdefault(camera, {})
            else:
                self.turns_since.pop(camera, None)


TestMachine = Machine.TestCase
