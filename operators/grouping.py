"""Online grouping of embeddings: like items share a group, without labels and without a number of groups.

A group's centre is the mean of its exemplars, scaled to length 1. An item joins the group whose centre c has the
highest cosine similarity c · x with its embedding x, if that is at least the threshold. Otherwise it founds a group.
This is leader clustering (J. A. Hartigan, Clustering Algorithms, 1975, chapter 3), with a mean in place of the leader.

Memory is bounded. A group keeps at most ``exemplars`` embeddings: those of the keys with the lowest digests, a uniform
sample of its members that does not depend on their order. Its size counts on. Beyond ``groups`` groups, the one that
was extended longest ago is forgotten. Groups are never merged.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from operators import checks

Embedding = npt.NDArray[np.float32]

#: An embedding's length may differ from 1 by this much: float16 rounds each value by at most 1 part in 2048.
_LENGTH_TOLERANCE = 1e-3
#: A mean of exemplars shorter than this has no direction.
_LEAST_LENGTH = 1e-6


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group of an item.

    Attributes:
        group: its key, the key of the item that founded it.
        is_new: the item founded the group.
        similarity: of the item to the group's centre before it joined, in [-1, 1]; 1 where it founded the group.
        size: members of the group so far, this one included.
        forgotten: the key of the group that was forgotten to make room, if any.
    """

    group: str
    is_new: bool
    similarity: float
    size: int
    forgotten: str | None = None


class Grouping:
    """Groups of embeddings of one model. Deterministic; not thread-safe.

    Keys name items. The caller gives each item once; see :meth:`replace` for one whose embedding changes.

    Args:
        similarity: least cosine similarity to a group's centre, in (0, 1].
        exemplars: most embeddings that a group keeps.
        groups: most groups.

    Raises:
        ValueError: a setting outside its range.
    """

    def __init__(self, similarity: float, *, exemplars: int = 64, groups: int = 2000) -> None:
        checks.threshold("similarity", similarity)
        checks.whole_number("exemplars", exemplars, least=1)
        checks.whole_number("groups", groups, least=1)
        self.similarity = similarity
        self._most_exemplars = exemplars
        self._most_groups = groups
        self._groups: dict[str, _Group] = {}  # the one extended longest ago first
        self._founded = 0
        self._centres: Embedding = np.empty((0, 0), np.float32)  # one row a group, and free rows
        self._free: list[int] = []  # those rows
        self._by_row: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, group: str) -> bool:
        return group in self._groups

    def size(self, group: str) -> int:
        """Return the number of members so far. Raises KeyError: an unknown group."""
        return self._groups[group].size

    def centre(self, group: str) -> Embedding:
        """Return the centre, float32 (D,): of length 1, or zeros where the mean has no direction. Raises KeyError."""
        centre: Embedding = self._centres[self._groups[group].row].copy()
        return centre

    def exemplars(self, group: str) -> dict[str, Embedding]:
        """Return the exemplars by their keys, in the order of the keys' digests. Raises KeyError: an unknown group."""
        return {key: embedding for _, key, embedding in self._groups[group].kept}

    def resemblance(self, group: str, embedding: Embedding) -> float:
        """Return the cosine similarity to the group's centre. Raises KeyError: an unknown group."""
        return _cosine(self._centres[self._groups[group].row], self._checked(embedding))

    def assign(self, key: str, embedding: Embedding) -> Assigned:
        """Return the group of a new item, which joins it.

        Equally similar groups: the one that was founded first. Where no group is similar enough, a new one bears the
        item's key. If a group bears that key already (its founder has left and comes back), the item joins it.

        Args:
            embedding: float32 (D,), of length 1.

        Raises:
            ValueError: not such an embedding, or of another D than the first one.
        """
        given = self._checked(embedding)
        nearest, similarity = self._nearest(given)
        if nearest is not None and similarity >= self.similarity:
            return self._join(key, given, nearest, similarity)
        return self.adopt(key, given, key)

    def adopt(self, key: str, embedding: Embedding, group: str) -> Assigned:
        """Let a new item join the group that it was given elsewhere, however similar it is; found the group if needed.

        Raises:
            ValueError: as :meth:`assign`.
        """
        given = self._checked(embedding)
        if group in self._groups:
            return self._join(key, given, group, _cosine(self._centres[self._groups[group].row], given))
        forgotten = None
        if len(self._groups) == self._most_groups:
            forgotten = next(iter(self._groups))
            self._forget(forgotten)
        row = self._free_row(len(given))
        self._groups[group], self._by_row[row] = _Group(row, self._founded), group
        self._founded += 1
        self._join(key, given, group, 1.0)
        return Assigned(group, True, 1.0, 1, forgotten)

    def count_at_least(self, group: str, size: int) -> None:
        """Raise the size of a group to one that is known from elsewhere. Raises KeyError: an unknown group."""
        kept = self._groups[group]
        kept.size = max(kept.size, size)

    def replace(self, key: str, embedding: Embedding, group: str) -> None:
        """Give an item of a group another embedding; the group's size and age stay.

        Raises:
            KeyError: an unknown group.
            ValueError: as :meth:`assign`.
        """
        given, kept = self._checked(embedding), self._groups[group]
        others = [one for one in kept.kept if one[1] != key]
        if len(others) < len(kept.kept):
            kept.kept = others
            kept.keep(key, given, self._most_exemplars)
            self._place_centre(kept)

    def leave(self, key: str, group: str, *, counted: bool = False) -> None:
        """Remove an item from its group. A group without exemplars is gone.

        Args:
            counted: its size stays: the item was a member, and is now too old to be kept.
        """
        if (kept := self._groups.get(group)) is None:
            return
        kept.kept = [one for one in kept.kept if one[1] != key]
        kept.size -= not counted
        if kept.kept:
            self._place_centre(kept)
        else:
            self._forget(group)

    def offer(self, group: str, members: Iterable[tuple[str, Embedding]]) -> None:
        """Fill the exemplars of a group up from its members, which are counted already; see :meth:`leave`.

        Raises:
            KeyError: an unknown group.
            ValueError: as :meth:`assign`.
        """
        kept = self._groups[group]
        for key, embedding in members:
            kept.keep(key, self._checked(embedding), self._most_exemplars)
        self._place_centre(kept)

    def _join(self, key: str, embedding: Embedding, group: str, similarity: float) -> Assigned:
        kept = self._groups.pop(group)
        self._groups[group] = kept  # the one extended last
        kept.size += 1
        if kept.keep(key, embedding, self._most_exemplars):
            self._place_centre(kept)
        return Assigned(group, False, similarity, kept.size)

    def _nearest(self, embedding: Embedding) -> tuple[str | None, float]:
        if not self._groups:
            return None, -1.0
        similarities = cosines(self._centres, embedding)
        similarities[self._free] = -np.inf
        best = np.flatnonzero(similarities == similarities.max())
        group = min((self._by_row[row] for row in best.tolist()), key=lambda one: self._groups[one].founded)
        return group, _clipped(float(similarities[best[0]]))

    def _place_centre(self, group: _Group) -> None:
        # In the order of the digests, so that the sum does not depend on the order in which members came.
        mean = np.sum([embedding for *_, embedding in group.kept], axis=0, dtype=np.float64)
        length = float(np.linalg.norm(mean))
        self._centres[group.row] = mean / length if length > _LEAST_LENGTH else 0.0

    def _free_row(self, dimensions: int) -> int:
        if not self._free:
            held = len(self._centres)
            rows = min(max(2 * held, 16), self._most_groups)
            centres = np.zeros((rows, dimensions), np.float32)
            if held:
                centres[:held] = self._centres
            self._centres, self._free = centres, list(range(held, rows))
        return self._free.pop()

    def _forget(self, group: str) -> None:
        row = self._groups.pop(group).row
        del self._by_row[row]
        self._free.append(row)

    def _checked(self, embedding: Embedding) -> Embedding:
        given = checked_embedding(embedding)
        if len(self._centres) and len(given) != self._centres.shape[1]:
            raise ValueError(f"embeddings must have {self._centres.shape[1]} values like the first, got {len(given)}")
        return given


@dataclass(slots=True)
class _Group:
    """A group: its row among the centres, its ordinal, its size, and its exemplars as (digest, key, embedding)."""

    row: int
    founded: int
    size: int = 0
    kept: list[tuple[bytes, str, Embedding]] = field(default_factory=list)

    def keep(self, key: str, embedding: Embedding, most: int) -> bool:
        """Keep the item if its digest is among the ``most`` lowest; return whether the exemplars changed."""
        one = (hashlib.blake2b(key.encode(), digest_size=8).digest(), key, embedding)
        if any(kept[:2] == one[:2] for kept in self.kept) or (len(self.kept) == most and one[:2] > self.kept[-1][:2]):
            return False
        bisect.insort(self.kept, one, key=lambda kept: kept[:2])
        del self.kept[most:]
        return True


def checked_embedding(embedding: npt.ArrayLike) -> Embedding:
    """Return the embedding as float32.

    Raises:
        ValueError: not (D,), D at least 1, or not of length 1 within a thousandth, as a NaN is not.
    """
    given = np.array(embedding, np.float32)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"an embedding must have the shape (D,), got {given.shape}")
    length = float(np.linalg.norm(given.astype(np.float64)))
    if not abs(length - 1) <= _LENGTH_TOLERANCE:
        raise ValueError(f"an embedding must have length 1, got {length:.4g}; divide it by its length")
    return given


def cosines(rows: Embedding, embedding: Embedding) -> npt.NDArray[np.float32]:
    """Return the cosine similarity of each of the rows (n, D) to an embedding (D,), float32 (n,); all of length 1."""
    # Not rows @ embedding: BLAS shares the work between threads, and on a busy machine each of them waits for a core.
    found: npt.NDArray[np.float32] = np.einsum("ij,j->i", rows, embedding)
    return found


def _cosine(one: Embedding, other: Embedding) -> float:
    return _clipped(float(np.dot(one, other)))


def _clipped(similarity: float) -> float:
    """Return a cosine of rounded vectors, which may leave [-1, 1] by a little."""
    return min(max(similarity, -1.0), 1.0)
