"""A random sample of rows that come one after another, in bounded memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Reservoir:
    """Keeps ``size`` of all rows that it is given, each with the same chance.

    Every row draws a number, and the rows with the least numbers are kept. The result depends on the seed and on the
    rows, not on how many come at once.

    Args:
        size: number of rows that are kept; memory holds twice as many.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self._size = size
        self._drawn = np.random.default_rng(seed)
        self._numbers: list[npt.NDArray[np.float64]] = []
        self._rows: list[npt.NDArray[np.float32]] = []
        self._held = 0
        self._most = 1.0  # a row with a higher number would not be kept

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Take rows, (m, C)."""
        numbers = self._drawn.random(len(rows))
        wanted = numbers < self._most
        self._numbers.append(numbers[wanted])
        self._rows.append(rows[wanted])
        self._held += int(wanted.sum())
        if self._held > 2 * self._size:
            self._prune()

    def rows(self) -> npt.NDArray[np.float32]:
        """Return the sample, (n, C), n at most ``size``, in the order in which the rows came."""
        self._prune()
        return self._rows[0]

    def _prune(self) -> None:
        numbers, rows = np.concatenate(self._numbers), np.concatenate(self._rows)
        if len(numbers) > self._size:
            kept = np.sort(np.argpartition(numbers, self._size)[: self._size])
            numbers, rows = numbers[kept], rows[kept]
            self._most = float(numbers.max())
        self._numbers, self._rows, self._held = [numbers], [rows], len(rows)
