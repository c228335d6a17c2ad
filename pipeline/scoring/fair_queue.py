"""Which camera's clip is scored next: bounded queues, one a camera, served in turn. No thread, no clock."""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, Protocol, TypeVar


class Ticketed(Protocol):
    """What waits in a queue: lower tickets came first."""

    @property
    def ticket(self) -> int: ...


K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Ticketed)

_ticket = attrgetter("ticket")


@dataclass(slots=True)
class _Lane(Generic[T]):
    capacity: int
    items: list[T] = field(default_factory=list)  # by ticket; a list, because a lane holds a handful


class FairQueue(Generic[K, T]):
    """One lane a key; :meth:`take` serves the waiting lane whose last turn is longest ago.

    A lane that has nothing waiting keeps its place, so one that comes a moment late is served before those that
    had their turn since. Between two turns of a lane that never runs empty, every other lane has at most one turn:
    lanes that always have something waiting differ by at most one turn, whatever their phases.

    Within a lane the order is that of the tickets, also for an item that comes back after it was taken.
    """

    def __init__(self) -> None:
        self._lanes: dict[K, _Lane[T]] = {}  # in order of their last turn, the longest ago first

    def __len__(self) -> int:
        return sum(len(lane.items) for lane in self._lanes.values())

    def add(self, key: K, capacity: int) -> None:
        """Open a lane in which ``capacity`` items may wait.

        Raises:
            ValueError: the lane exists, or the capacity is below 1.
        """
        if key in self._lanes:
            raise ValueError(f"{key}: added twice")
        if capacity < 1:
            raise ValueError(f"{key}: capacity must be at least 1, got {capacity}")
        self._lanes[key] = _Lane(capacity)

    def remove(self, key: K) -> list[T]:
        """Close a lane and hand out what waited in it, in order."""
        return self._lanes.pop(key).items

    def full(self, key: K) -> bool:
        """Whether one more item would exceed the lane's capacity."""
        lane = self._lanes[key]
        return len(lane.items) >= lane.capacity

    def put(self, key: K, item: T) -> None:
        """Add a new item, or give back one that was taken: its ticket tells its place.

        The capacity is the caller's to keep: ask :meth:`full` before, or :meth:`overflow` after.
        """
        insort(self._lanes[key].items, item, key=_ticket)

    def overflow(self, key: K) -> T | None:
        """Take out the lane's oldest item if the lane holds more than its capacity."""
        lane = self._lanes[key]
        return lane.items.pop(0) if len(lane.items) > lane.capacity else None

    def take(self) -> tuple[K, T] | None:
        """The oldest item of the lane whose turn it is; None when nothing waits. O(lanes)."""
        for key, lane in self._lanes.items():
            if lane.items:
                self._lanes[key] = self._lanes.pop(key)  # to the end: it had its turn
                return key, lane.items.pop(0)
        return None
