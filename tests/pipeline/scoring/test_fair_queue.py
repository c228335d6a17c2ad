"""The fair queue: nothing lost, order kept, turns equal, for any sequence of calls."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.scoring.fair_queue import FairQueue

CAMERAS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Item:
    ticket: int


def test_serves_cameras_in_turn() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    for camera in "abc":
        queue.add(camera, 9)
    for ticket, camera in enumerate("aaabbc"):
        queue.put(camera, Item(ticket))
    taken = [queue.take() for _ in range(7)]
    assert [pair and (pair[0], pair[1].ticket) for pair in taken] == [
        ("a", 0), ("b", 3), ("c", 5), ("a", 1), ("b", 4), ("a", 2), None,
    ]  # fmt: skip


def test_a_camera_that_comes_late_is_served_before_those_that_had_their_turn() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    for camera in "ab":
        queue.add(camera, 9)
    for ticket in range(3):
        queue.put("a", Item(ticket))
    assert queue.take() == ("a", Item(0))
    queue.put("b", Item(9))
    assert queue.take() == ("b", Item(9))


def test_an_item_that_comes_back_goes_in_front() -> None:
    queue: FairQueue[str, Item] = FairQueue()
    queue.add("a", 9)
    for ticket in range(3):
        queue.put("a", Item(ticket))
    first, second = queue.take(), queue.take()
    assert first
    assert second
    queue.put(*first)  # they come back in any order
    queue.put(*second)
    assert [queue.take() for _ in range(3)] == [("a", Item(0)), ("a", Item(1)), ("a", Item(2))]


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
        while free_at <= tick and (taken := queue.take()):
            served[taken[0]] += 1
            free_at += service
    assert sum(served.values()) > 0.9 * period * 199 / service  # it was busy
    assert max(served.values()) - min(served.values()) <= 2


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
        taken = self.queue.take()
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
