"""The stock of a worker's place in the object store: sizes and ages, and the objects that are due for removal."""

from __future__ import annotations

import heapq


class StoredStock:
    """Objects by key, oldest first. Not thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[int, float]] = {}  # bytes, and the time that they are kept from
        self._by_age: list[tuple[float, str]] = []  # a heap, with entries of objects that were replaced or removed
        self._total = 0

    def note(self, key: str, size: int, kept_from: float) -> None:
        """Take an object, or a new version of one.

        Args:
            size: bytes.
            kept_from: its age counts from here, seconds of any clock that does not jump.
        """
        self.forget(key)
        self._objects[key] = (size, kept_from)
        self._total += size
        heapq.heappush(self._by_age, (kept_from, key))

    def forget(self, key: str) -> None:
        """Leave out an object that was removed."""
        self._total -= self._objects.pop(key, (0, 0.0))[0]

    def due(self, quota_bytes: int, too_old: float, most: int) -> list[str]:
        """Return the oldest objects beyond the quota, and those kept from before ``too_old``; at most so many."""
        found: dict[str, float] = {}
        left = self._total
        while self._by_age and len(found) < most:
            kept_from, key = self._by_age[0]
            size, latest = self._objects.get(key, (0, float("nan")))
            if latest == kept_from and key not in found:
                if left <= quota_bytes and kept_from >= too_old:
                    break
                left -= size
                found[key] = kept_from
            heapq.heappop(self._by_age)
        for key, kept_from in found.items():  # they are due until they are forgotten
            heapq.heappush(self._by_age, (kept_from, key))
        return list(found)
