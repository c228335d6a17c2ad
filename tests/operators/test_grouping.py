"""Grouping of embeddings: hand-worked cases, an independent implementation, and what holds for any embeddings."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.grouping import Assigned, Embedding, Grouping, checked_embedding


def at(degrees: float) -> Embedding:
    """The direction in the plane; the cosine of two is that of the angle between them."""
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], np.float32)


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


angles = st.lists(st.floats(0, 360), min_size=1, max_size=30)


def blobs(count: int, *, dimensions: int = 16, spread: float = 0.05, seed: int = 0) -> tuple[Embedding, list[int]]:
    """Embeddings around four orthogonal directions, and the direction of each."""
    drawn = np.random.default_rng(seed)
    labels = drawn.integers(4, size=count)
    points = np.eye(dimensions)[labels] + spread * drawn.standard_normal((count, dimensions))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels.tolist()


class TestByHand:
    def test_items_join_the_nearest_centre_above_the_threshold(self) -> None:
        grouping = Grouping(cosine(20))
        assert grouping.assign("a", at(0)) == Assigned("a", True, 1.0, 1)
        joined = grouping.assign("b", at(10))  # 10° from a; the centre is now at 5°
        assert (joined.group, joined.is_new, joined.size) == ("a", False, 2)
        assert joined.similarity == pytest.approx(cosine(10), abs=1e-6)
        assert grouping.centre("a") == pytest.approx(at(5), abs=1e-6)
        assert grouping.resemblance("a", at(35)) == pytest.approx(cosine(30), abs=1e-6)
        assert grouping.assign("c", at(26)).is_new  # 21° from the centre
        assert grouping.assign("d", at(16)).group == "c"  # 10° from c, 11° from the centre of a

    def test_of_equally_similar_groups_the_older_one_is_taken(self) -> None:
        grouping = Grouping(cosine(50))
        grouping.assign("a", at(0))
        grouping.assign("b", at(90))
        grouping.adopt("c", at(90), "b")
        grouping.adopt("d", at(0), "a")
        middle = np.array([math.sqrt(0.5), math.sqrt(0.5)], np.float32)
        assert grouping.assign("e", middle).group == "a"

    def test_an_adopted_item_joins_its_group_however_unlike_it_is(self) -> None:
        grouping = Grouping(0.9)
        assert grouping.adopt("x", at(0), "elsewhere") == Assigned("elsewhere", True, 1.0, 1)
        adopted = grouping.adopt("y", at(180), "elsewhere")
        assert (adopted.group, adopted.similarity, adopted.size) == ("elsewhere", -1.0, 2)
        assert grouping.centre("elsewhere") == pytest.approx([0, 0])  # opposite exemplars have no mean direction
        assert grouping.assign("z", at(0)).is_new

    def test_a_size_that_is_known_from_elsewhere_only_grows(self) -> None:
        grouping = Grouping(0.9)
        grouping.assign("a", at(0))
        grouping.count_at_least("a", 40)
        grouping.count_at_least("a", 7)
        assert grouping.assign("b", at(0)).size == 41

    def test_an_item_that_leaves_and_a_group_that_ends(self) -> None:
        grouping = Grouping(cosine(20))
        grouping.assign("a", at(0))
        grouping.assign("b", at(10))
        grouping.leave("a", "a")
        assert (grouping.size("a"), list(grouping.exemplars("a"))) == (1, ["b"])
        assert grouping.centre("a") == pytest.approx(at(10), abs=1e-6)
        grouping.leave("b", "a", counted=True)
        assert "a" not in grouping
        grouping.leave("b", "a")  # of an unknown group: nothing happens
        assert grouping.assign("c", at(10)).group == "c"

    def test_a_founder_that_left_and_comes_back_joins_the_group_that_bears_its_key(self) -> None:
        grouping = Grouping(cosine(20))
        grouping.assign("a", at(0))
        grouping.assign("b", at(10))
        grouping.leave("a", "a")
        back = grouping.assign("a", at(180))
        assert (back.group, back.is_new, back.size) == ("a", False, 2)

    def test_exemplars_are_filled_up_from_the_members(self) -> None:
        keys = [str(number) for number in range(10)]
        grouping = Grouping(0.5, exemplars=3)
        for key in keys:
            grouping.adopt(key, at(0), "g")
        before = list(grouping.exemplars("g"))
        grouping.leave(before[0], "g", counted=True)
        grouping.offer("g", [(key, at(0)) for key in keys if key != before[0]])
        after = list(grouping.exemplars("g"))
        assert after[:2] == before[1:]
        assert len(after) == 3
        assert grouping.size("g") == 10


class TestBounds:
    def test_a_group_keeps_the_lowest_digests_and_counts_on(self) -> None:
        grouping = Grouping(0.5, exemplars=5)
        keys = [f"alert {number}" for number in range(200)]
        sizes = [grouping.adopt(key, at(0), "g").size for key in keys]
        assert sizes == list(range(1, 201))
        lowest = sorted(keys, key=lambda key: hashlib.blake2b(key.encode(), digest_size=8).digest())[:5]
        assert list(grouping.exemplars("g")) == lowest

    def test_the_group_extended_longest_ago_is_forgotten(self) -> None:
        grouping = Grouping(0.99, groups=3)
        for key, degrees in (("a", 0), ("b", 60), ("c", 120)):
            assert grouping.assign(key, at(degrees)).forgotten is None
        grouping.assign("a2", at(0))
        assert grouping.assign("d", at(180)).forgotten == "b"
        assert (len(grouping), "b" in grouping, "a" in grouping) == (3, False, True)
        assert grouping.assign("b2", at(60)).group == "b2"

    @given(angles, st.integers(1, 5), st.integers(1, 4))
    def test_neither_groups_nor_exemplars_exceed_their_limits(self, given: list[float], most: int, kept: int) -> None:
        grouping = Grouping(cosine(15), exemplars=kept, groups=most)
        for number, degrees in enumerate(given):
            group = grouping.assign(str(number), at(degrees)).group
            assert len(grouping) <= most
            assert 1 <= len(grouping.exemplars(group)) <= kept


class TestProperties:
    @given(angles)
    def test_each_item_joins_a_similar_group_or_founds_one(self, given: list[float]) -> None:
        grouping = Grouping(cosine(15))
        founded: dict[str, int] = {}
        for number, degrees in enumerate(given):
            centres = {group: grouping.centre(group) for group in founded}
            best = max((float(centre @ at(degrees)) for centre in centres.values()), default=-1.0)
            assigned = grouping.assign(str(number), at(degrees))
            assert assigned.is_new == (assigned.group == str(number))
            if abs(best - cosine(15)) > 1e-6:
                assert assigned.is_new == (best < cosine(15))
            if not assigned.is_new:
                assert assigned.similarity == pytest.approx(best, abs=1e-6)
            founded[assigned.group] = founded.get(assigned.group, 0) + 1
            assert assigned.size == founded[assigned.group] == grouping.size(assigned.group)
            assert np.linalg.norm(grouping.centre(assigned.group)) == pytest.approx(1, abs=1e-6)
        assert sum(founded.values()) == len(given)

    @given(angles, st.randoms(use_true_random=False))
    def test_a_groups_centre_does_not_depend_on_the_order_of_its_members(
        self, given: list[float], shuffled: random.Random
    ) -> None:
        members = [(str(number), at(degrees)) for number, degrees in enumerate(given)]
        other = list(members)
        shuffled.shuffle(other)
        one, two = Grouping(0.5, exemplars=4), Grouping(0.5, exemplars=4)
        for key, embedding in members:
            one.adopt(key, embedding, "g")
        for key, embedding in other:
            two.adopt(key, embedding, "g")
        assert one.centre("g").tobytes() == two.centre("g").tobytes()
        assert list(one.exemplars("g")) == list(two.exemplars("g"))

    @given(angles, st.integers(0, 1000))
    def test_other_keys_give_the_same_partition(self, given: list[float], seed: int) -> None:
        """As long as no group has more members than exemplars: the sample depends on the keys."""
        names = [f"{seed}-{number}" for number in range(len(given))]
        one, two = Grouping(cosine(15)), Grouping(cosine(15))
        first = [one.assign(str(number), at(degrees)).group for number, degrees in enumerate(given)]
        second = [two.assign(name, at(degrees)).group for name, degrees in zip(names, given, strict=True)]
        assert [names[int(group)] for group in first] == second

    @pytest.mark.parametrize("order", range(3))
    def test_well_separated_kinds_are_found_in_any_order(self, order: int) -> None:
        embeddings, labels = blobs(400)
        grouping = Grouping(0.8, exemplars=8)
        found = {}
        for number in np.random.default_rng(order).permutation(400):
            found[number] = grouping.assign(str(number), embeddings[number]).group
        assert len(grouping) == 4
        assert len({(labels[number], group) for number, group in found.items()}) == 4


class TestBadInput:
    @pytest.mark.parametrize(
        ("embedding", "message"),
        [
            (np.zeros(2), r"length 1, got 0"),
            (np.array([np.nan, 1.0]), "got nan"),
            (np.array([np.inf, 0.0]), "got inf"),
            (np.array([1.0, 1.0]), r"got 1\.414"),
            (np.empty(0), r"shape \(D,\), got \(0,\)"),
            (np.eye(2), r"got \(2, 2\)"),
        ],
    )
    def test_other_embeddings_are_refused(self, embedding: Any, message: str) -> None:
        grouping = Grouping(0.9)
        for refuse in (grouping.assign, lambda key, given: grouping.adopt(key, given, "g")):
            with pytest.raises(ValueError, match=message):
                refuse("a", embedding)
        assert len(grouping) == 0

    def test_embeddings_of_another_length_are_refused(self) -> None:
        grouping = Grouping(0.9)
        grouping.assign("a", at(0))
        with pytest.raises(ValueError, match="must have 2 values like the first, got 3"):
            grouping.assign("b", np.array([1.0, 0, 0], np.float32))

    @pytest.mark.parametrize("similarity", [0, -0.5, 1.01, math.nan])
    def test_a_similarity_outside_its_range(self, similarity: float) -> None:
        with pytest.raises(ValueError, match="similarity must be a number above 0 and at most 1"):
            Grouping(similarity)

    @pytest.mark.parametrize("limits", [{"exemplars": 0}, {"groups": 0}])
    def test_limits_below_one(self, limits: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            Grouping(0.9, **limits)

    def test_an_unknown_group(self) -> None:
        grouping = Grouping(0.9)
        for ask in (
            grouping.size,
            grouping.centre,
            grouping.exemplars,
            lambda group: grouping.count_at_least(group, 1),
        ):
            with pytest.raises(KeyError):
                ask("a")

    def test_the_callers_array_is_not_kept(self) -> None:
        given = at(0)
        kept = checked_embedding(given)
        given[:] = 0
        assert kept == pytest.approx(at(0))
