"""Statistics of motion: how fast things move in each part of a picture, compared with normal footage of one camera.

A flow field becomes a speed for each cell of the picture: the mean speed of what moves in and around it, the camera's
own shake subtracted. Perspective makes near things faster than far ones, and near ones are low in the picture, so
speeds are compared within a row of cells: z = (speed − centre) / spread, both from normal footage. It rises with speed
alone: what moves slowly or not at all is normal.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELL = 8  #: side of a cell, pixels
#: Below this speed a pixel stands still, pixels a gap; above twice of it, it counts in full. Chosen with the next one
#: on the normal videos of Ped2 alone: footage 1.5 times as fast had an AUC of 0.986 (0.976 with 0.3 and 24; by hand).
FLOOR = 0.5
#: A window with fewer moving pixels than this gets less than their speed, so that specks do not count as things.
_SPECK_PIXELS = 48.0

#: Bins of speeds, equal in their ratio (3 %): from :data:`FLOOR` to 100 pixels a gap.
_EDGES = np.geomspace(FLOOR, 100.0, 201)
#: Moving cells that a row's statistics need; a row with fewer takes those of the rows around it, too.
_LEAST_CELLS = 500
#: Least spread, pixels a gap: flow of real footage is hardly more accurate (0.1 to 0.2 on still parts).
_LEAST_SPREAD = 0.2

Speeds = npt.NDArray[np.float32]  #: (h, w), or (n, h, w)


def cell_speeds(flow: npt.NDArray[np.float32]) -> tuple[Speeds, npt.NDArray[np.float32]]:
    """Return the speed of each cell, and the shake of the camera.

    The speed is the mean over a window of 3 × 3 cells around it, of its moving pixels alone. Pixels within a cell of
    the picture's border do not count: what enters or leaves there has no counterpart in the other picture, and its
    flow is arbitrary.

    Args:
        flow: float32 (H, W, 2), pixels a gap, H and W multiples of :data:`CELL`. A camera that shakes moves most pixels
            alike, so the median of the flow is the shake.

    Returns:
        speeds, float32 (H / CELL, W / CELL), pixels a gap; shake, float32 (2,), x and y.

    Raises:
        ValueError: a flow of another shape.
    """
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.shape[0] % CELL or flow.shape[1] % CELL or not flow.size:
        raise ValueError(f"flow must be (H, W, 2), H and W multiples of {CELL}, got {flow.shape}")
    shake = np.median(flow[::2, ::2].reshape(-1, 2), axis=0).astype(np.float32)
    own = flow - shake
    speed: npt.NDArray[np.float32] = np.sqrt(own[..., 0] ** 2 + own[..., 1] ** 2)
    moving: npt.NDArray[np.float32] = np.clip(speed / np.float32(FLOOR) - 1, 0, 1)
    for border in (moving[:CELL], moving[-CELL:], moving[:, :CELL], moving[:, -CELL:]):
        border[...] = 0
    weighted, weights = _window_sums(np.multiply(moving, speed)), _window_sums(moving)
    return weighted / (weights + np.float32(_SPECK_PIXELS)), shake


def _window_sums(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the sum over 3 × 3 cells around each cell, less at the borders: (H, W) → (H / CELL, W / CELL)."""
    height, width = values.shape
    cells = values.reshape(height // CELL, CELL, width // CELL, CELL).sum(axis=(1, 3))
    padded = np.pad(cells, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    sums: npt.NDArray[np.float32] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return sums


@dataclass(frozen=True, slots=True)
class RowStatistics:
    """Normal speeds of moving cells in each row of cells.

    Attributes:
        centre: float32 (h,), the median, pixels a gap.
        spread: float32 (h,), above 0: from the median to the quantile 0.84, which is one standard deviation of a normal
            distribution. Slow things do not widen it.

    Raises:
        ValueError: rows of different lengths, or a spread that is not above 0.
    """

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.centre.ndim != 1 or self.centre.shape != self.spread.shape:
            raise ValueError(f"expected a centre and a spread a row, got {self.centre.shape} and {self.spread.shape}")
        if not (np.isfinite(self.centre).all() and np.isfinite(self.spread).all() and (self.spread > 0).all()):
            raise ValueError("centre and spread must be finite, and spread above 0")

    def deviations(self, speeds: Speeds) -> Speeds:
        """Return z of each cell, of the shape of ``speeds``: (h, w) or (n, h, w)."""
        return (speeds - self.centre[:, None]) / self.spread[:, None]


class SpeedHistogram:
    """Counts of the speeds of moving cells by rows, from footage of any length in the memory of one picture.

    Args:
        rows: number of rows of cells, h.
    """

    def __init__(self, rows: int) -> None:
        self.counts = np.zeros((rows, len(_EDGES) - 1), np.int64)

    def add(self, speeds: Speeds) -> None:
        """Count the cells of pictures, (h, w) or (n, h, w)."""
        rows = speeds.shape[-2]
        at = np.searchsorted(_EDGES, np.minimum(speeds, _EDGES[-1] * 0.999), side="right") - 1
        row = np.broadcast_to(np.arange(rows)[:, None], speeds.shape)
        np.add.at(self.counts, (row[at >= 0], at[at >= 0]), 1)

    def statistics(self) -> RowStatistics:
        """Return the statistics of each row; of a camera at which hardly anything moves, those of slow motion.

        Medians and quantiles: a few per cent of incidents among the footage shift them little.
        """
        found = [self._row(row) for row in range(len(self.counts))]
        centre = np.array([one[0] for one in found], np.float32)
        spread = np.array([one[1] for one in found], np.float32)
        return RowStatistics(centre, np.maximum(spread, np.float32(_LEAST_SPREAD)))

    def _row(self, row: int) -> tuple[float, float]:
        for reach in range(len(self.counts)):
            counts = self.counts[max(row - reach, 0) : row + reach + 1].sum(axis=0)
            if counts.sum() >= _LEAST_CELLS:
                median, high = _quantiles(counts, (0.5, 0.8413))
                return median, high - median
        return 2 * FLOOR, FLOOR


def _quantiles(counts: npt.NDArray[np.int64], shares: tuple[float, ...]) -> list[float]:
    """Return quantiles of binned speeds, interpolated within their bins."""
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return [float(np.interp(share, below, _EDGES)) for share in shares]
