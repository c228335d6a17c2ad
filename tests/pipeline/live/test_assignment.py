"""The shares of a group's workers: each partition once, by capacity, and as little moved as can be."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import product
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from pipeline.live.assignment import GroupView, Member, share_out, view_of

NAMES = st.sampled_from([f"w{number}" for number in range(6)])
CAPACITIES = st.integers(1, 12)
GROUPS = st.dictionaries(NAMES, CAPACITIES, min_size=1, max_size=6)
PARTITIONS = st.integers(1, 40)


def members_of(capacities: dict[str, int], owned: dict[str, list[int]] | None = None) -> dict[str, Member]:
    return {
        name: Member(name, "1", capacity, frozenset((owned or {}).get(name, [])), 3)
        for name, capacity in capacities.items()
    }


def check_complete(shares: dict[str, list[int]], members: dict[str, Member], partitions: int) -> None:
    assert shares.keys() == members.keys()
    assert sorted(number for numbers in shares.values() for number in numbers) == list(range(partitions))


def check_proportional(shares: dict[str, list[int]], capacities: dict[str, int], partitions: int) -> None:
    for name, numbers in shares.items():
        exact = Fraction(partitions * capacities[name], sum(capacities.values()))
        assert floor(exact) <= len(numbers) <= ceil(exact)


@given(GROUPS, PARTITIONS)
def test_a_new_group_shares_out_each_partition_once_by_capacity(capacities: dict[str, int], partitions: int) -> None:
    members = members_of(capacities)
    shares = share_out(members, range(partitions))
    check_complete(shares, members, partitions)
    check_proportional(shares, capacities, partitions)
    assert share_out(dict(reversed(members.items())), reversed(range(partitions))) == shares


@given(GROUPS, PARTITIONS)
def test_nothing_moves_in_a_group_that_is_shared_out_already(capacities: dict[str, int], partitions: int) -> None:
    shares = share_out(members_of(capacities), range(partitions))
    assert share_out(members_of(capacities, shares), range(partitions)) == shares


@given(GROUPS, PARTITIONS, st.data())
def test_no_division_with_proportional_shares_moves_less(
    capacities: dict[str, int], partitions: int, data: st.DataObject
) -> None:
    owners = data.draw(st.lists(st.sampled_from([*capacities, ""]), min_size=partitions, max_size=partitions))
    owned = {name: [number for number, owner in enumerate(owners) if owner == name] for name in capacities}
    shares = share_out(members_of(capacities, owned), range(partitions))
    check_proportional(shares, capacities, partitions)
    kept = sum(len(set(shares[name]) & set(owned[name])) for name in capacities)
    exact = {name: Fraction(partitions * capacity, sum(capacities.values())) for name, capacity in capacities.items()}
    # Every way of rounding the shares that gives all partitions away.
    possible = product(*({floor(share), ceil(share)} for share in exact.values()))
    best = max(
        sum(min(size, len(owned[name])) for name, size in zip(exact, sizes, strict=True))
        for sizes in possible
        if sum(sizes) == partitions
    )
    assert kept == best


@given(GROUPS, CAPACITIES, PARTITIONS)
def test_a_joiner_takes_its_share_and_no_more(capacities: dict[str, int], capacity: int, partitions: int) -> None:
    before = share_out(members_of(capacities), range(partitions))
    after = share_out(members_of({**capacities, "joiner": capacity}, before), range(partitions))
    check_proportional(after, {**capacities, "joiner": capacity}, partitions)


@given(st.dictionaries(NAMES, CAPACITIES, min_size=2, max_size=6), PARTITIONS)
def test_only_the_partitions_of_one_that_leaves_move_where_all_are_alike(
    names: dict[str, int], partitions: int
) -> None:
    capacities = dict.fromkeys(names, 4)
    before = share_out(members_of(capacities), range(partitions))
    gone = min(capacities)
    rest = {name: capacity for name, capacity in capacities.items() if name != gone}
    after = share_out(members_of(rest, before), range(partitions))
    assert all(set(before[name]) <= set(after[name]) for name in rest)


def test_of_two_owners_the_one_of_the_later_generation_is_right() -> None:
    members = {
        "zombie": Member("zombie", "1", 4, frozenset({0, 1}), generation=3),
        "owner": Member("owner", "1", 4, frozenset({0, 1}), generation=4),
    }
    assert share_out(members, range(4)) == {"owner": [0, 1], "zombie": [2, 3]}


def test_partitions_that_do_not_exist_are_given_away_to_no_worker() -> None:
    assert share_out(members_of({"w0": 1}, {"w0": [0, 7]}), range(2)) == {"w0": [0, 1]}


def test_a_group_without_members_shares_out_nothing() -> None:
    assert share_out({}, range(3)) == {}


def test_a_member_comes_back_from_its_document() -> None:
    member = Member("host-12", "0.2.0", 16, frozenset({3, 1}), 7)
    assert Member.from_bytes(member.to_bytes()) == member


@given(st.binary(max_size=60))
def test_any_other_document_is_a_stranger_of_capacity_one(document: bytes) -> None:
    assert Member.from_bytes(document) == Member()


def test_a_document_of_a_later_form_is_read_and_one_without_sense_is_not() -> None:
    later = {"form": 9, "worker": "w", "version": "9", "capacity": 2, "owned": [1], "generation": 4, "new": {}}
    assert Member.from_bytes(json.dumps(later).encode()) == Member("w", "9", 2, frozenset({1}), 4)
    for wrong in ({"capacity": 0}, {"capacity": 10**9}, {"owned": 5}, {"generation": None}, {"capacity": 1e400}):
        assert Member.from_bytes(json.dumps({**later, **wrong}).encode()) == Member()


def test_the_view_names_workers_strangers_and_idle_members() -> None:
    view = view_of([Member("a", "1", 4), Member("b", "2", 8), Member()], partitions=2)
    assert view == GroupView(2, {"a": "1", "b": "2"}, capacity=13, strangers=1)
    assert (view.size, view.idle) == (3, 1)
    assert GroupView.from_bytes(view.to_bytes()) == view
    for document in (None, b"", b"[]", b'{"workers": []}'):
        assert GroupView.from_bytes(document) is None
