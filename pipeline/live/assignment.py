"""Shares out the partitions of the control topic between the workers of a group: sticky, by capacity, pure.

The shares are of partitions, which hold the cameras by the hash of their names. With many more partitions than workers
the shares of cameras are about proportional, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

#: Form of the documents below. A worker reads those of later forms as far as it knows their fields.
FORM = 1
#: Capacities beyond this are taken for a mistake of another program.
_MOST_CAPACITY = 1_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One worker as it introduces itself to its group.

    Attributes:
        worker: its name, for people; empty for a member that is not a worker of mistwatch.
        version: its version of mistwatch.
        capacity: cameras that it can watch.
        owned: partitions of which it watches the cameras.
        generation: the group's generation in which they were assigned to it.
    """

    worker: str = ""
    version: str = ""
    capacity: int = 1
    owned: frozenset[int] = frozenset()
    generation: int = -1

    def to_bytes(self) -> bytes:
        """Return the member's document, which goes with its request to join."""
        return json.dumps(
            {
                "form": FORM,
                "worker": self.worker,
                "version": self.version,
                "capacity": self.capacity,
                "owned": sorted(self.owned),
                "generation": self.generation,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, document: bytes | None) -> Member:
        """Return the member of a document; one without a name and with the capacity 1 where it cannot be read."""
        try:
            found = json.loads(document or b"")
            capacity, generation = int(found["capacity"]), int(found["generation"])
            if not 1 <= capacity <= _MOST_CAPACITY:
                return cls()
            owned = frozenset(int(number) for number in found["owned"])
            return cls(str(found["worker"]), str(found["version"]), capacity, owned, generation)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return cls()


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group as the worker saw it that shared out the partitions: each worker gets it with its share.

    Attributes:
        workers: the version of each worker by its name.
        capacity: cameras that all of them can watch.
        strangers: members that are not workers of mistwatch, or that this version cannot read.
    """

    partitions: int
    workers: Mapping[str, str]
    capacity: int
    strangers: int = 0

    def to_bytes(self) -> bytes:
        """Return the document that goes with each worker's share."""
        return json.dumps(
            {
                "form": FORM,
                "partitions": self.partitions,
                "workers": dict(self.workers),
                "capacity": self.capacity,
                "strangers": self.strangers,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, document: bytes | None) -> GroupView | None:
        """Return the view of a document; None where it cannot be read."""
        try:
            found = json.loads(document or b"")
            workers = {str(worker): str(version) for worker, version in found["workers"].items()}
            return cls(int(found["partitions"]), workers, int(found["capacity"]), int(found["strangers"]))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.workers) + self.strangers

    @property
    def idle(self) -> int:
        """Return the number of members that have no partition."""
        return max(0, self.size - self.partitions)


def view_of(members: Iterable[Member], partitions: int) -> GroupView:
    """Return the view of a group with these members."""
    members = list(members)
    known = [member for member in members if member.worker]
    return GroupView(
        partitions,
        {member.worker: member.version for member in known},
        sum(member.capacity for member in members),
        len(members) - len(known),
    )


def share_out(members: Mapping[str, Member], partitions: Iterable[int]) -> dict[str, list[int]]:
    """Return the partitions of each member.

    Each partition has one owner. A share is the proportional one (by capacity), rounded up or down; no division with
    such shares takes fewer partitions from the owners that they have.

    Args:
        members: by their id in the group.
    """
    if not members:
        return {}
    remaining = set(partitions)
    owned = _owned(members, remaining)
    shares = _shares(members, {name: len(kept) for name, kept in owned.items()}, len(remaining))
    given = {name: sorted(owned[name])[: shares[name]] for name in sorted(members)}
    for kept in given.values():
        remaining.difference_update(kept)
    for partition in sorted(remaining):
        # The one that lacks most is first, so that new partitions are spread.
        name = max(given, key=lambda each: (shares[each] - len(given[each]), each))
        given[name].append(partition)
    return {name: sorted(numbers) for name, numbers in given.items()}


def _owned(members: Mapping[str, Member], partitions: Iterable[int]) -> dict[str, set[int]]:
    """Return the partitions that each member has. Of two that say so, the one of the later generation is right."""
    owners: dict[int, str] = {}
    for name in sorted(members, key=lambda each: (members[each].generation, each)):
        owners.update(dict.fromkeys(members[name].owned, name))
    owned: dict[str, set[int]] = {name: set() for name in members}
    for partition in partitions:
        if partition in owners:
            owned[owners[partition]].add(partition)
    return owned


def _shares(members: Mapping[str, Member], owned: Mapping[str, int], partitions: int) -> dict[str, int]:
    """Return the number of partitions of each member: the proportional share, rounded up or down."""
    whole = sum(member.capacity for member in members.values())
    exact = {name: Fraction(partitions * member.capacity, whole) for name, member in members.items()}
    shares = {name: int(share) for name, share in exact.items()}
    # Rounded up are those first that would lose a partition otherwise, then the largest remainders.
    uneven = [name for name in members if exact[name] > shares[name]]
    uneven.sort(key=lambda name: (owned[name] <= shares[name], shares[name] - exact[name], name))
    for name in uneven[: partitions - sum(shares.values())]:
        shares[name] += 1
    return shares
