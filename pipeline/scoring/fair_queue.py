"""The order in which clips are scored: bounded queues that are served in turn. No thread, no clock."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, Protocol, TypeVar


class Ticketed(Protocol):
    """An item of a queue: lower tickets came first."""

    @property
    def ticket(self) -> int: ...


K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Ticketed)

_ticket = attrgetter("ticket")


@dataclass(slots=True)
class _Lane(Generic[T]):
    group: Hashable
    capacity: int
    items: list[T] = field(default_factory=list)  # by ticket; a list, because a lane holds a handful


class FairQueue(Generic[K, T]):
    """Lanes in groups. The group whose last turn is longest ago has the next turn, and within it its lanes alternate.

    A group without waiting items keeps its place, so one that comes a moment late is served before those that had
    their turn since. Between two turns of a group that never runs empty, every other group has at most one turn,
    whatever the number of their lanes: groups that always have something waiting differ by at most one turn, whatever
    their phases. The same holds between the lanes of a group, counted in the group's turns.

    Within a lane the order is that of the tickets, also for an item that comes back after it was taken.
    """

    def __init__(self) -> None:
        self._lanes: dict[K, _Lane[T]] = {}
        self._turns: dict[Hashable, dict[K, None]] = {}  # groups, and lanes within, the longest ago first

    def __len__(self) -> int:
        return sum(len(lane.items) for lane in self._lanes.values())

    def add(self, key: K, capacity: int, *, group: Hashable = None) -> None:
        """Open a lane in which ``capacity`` items may wait.

        Args:
            group: the lanes of one group share its turns; by default the lane is a group of its own.

        Raises:
            ValueError: the lane exists, or the capacity is below 1.
        """
        if key in self._lanes:
            raise ValueError(f"{key}: added twice")
        if capacity < 1:
            raise ValueError(f"{key}: capacity must be at least 1, got {capacity}")
        lane = self._lanes[key] = _Lane(key if group is None else group, capacity)
        self._turns.setdefault(lane.group, {})[key] = None

    def remove(self, key: K) -> list[T]:
        """Close a lane and return its waiting items, in order."""
        lane = self._lanes.pop(key)
        lanes = self._turns[lane.group]
        del lanes[key]
        if not lanes:
            del self._turns[lane.group]
        return lane.items

    def waiting(self, key: K) -> int:
        """Return the number of items that wait in a lane."""
        return len(self._lanes[key].items)

    def full(self, key: K) -> bool:
        """Return whether one more item would exceed the lane's capacity."""
        lane = self._lanes[key]
        return len(lane.items) >= lane.capacity

    def put(self, key: K, item: T) -> None:
        """Add a new item, or give back one that was taken: its ticket decides its place.

        The capacity is the caller's to keep: ask :meth:`full` before, or :meth:`overflow` after.
        """
        insort(self._lanes[key].items, item, key=_ticket)

    def overflow(self, key: K) -> T | None:
        """Take out the lane's oldest item if the lane holds more than its capacity."""
        lane = self._lanes[key]
        return lane.items.pop(0) if len(lane.items) > lane.capacity else None

    def next(self, ready: Callable[[K], bool] = lambda _key: True) -> K | None:
        """Return the waiting lane that has the next turn; None when none waits. O(lanes).

        Args:
            ready: lanes for which it is false are passed over, as if they were empty.
        """
        for lanes in self._turns.values():
            for key in lanes:
                if self._lanes[key].items and ready(key):
                    return key
        return None

    def take(self, key: K) -> T:
        """Take the oldest item of a waiting lane, which has had its turn then, as has its group."""
        lane = self._lanes[key]
        lanes = self._turns.pop(lane.group)
        self._turns[lane.group] = lanes  # to the end
        del lanes[key]
        lanes[key] = None
        return lane.items.pop(0)
