"""Statistics of motion: how fast things move in each part of a picture, compared with normal footage of one camera.

A flow field becomes two statistics of each cell of the picture: the mean speed of what moves in and around it, and its
mean speed up or down, the camera's own shake subtracted. People and vehicles move along the ground, so a fall or a
scuffle stands out by its vertical speed. Perspective makes near things faster than far ones, and near ones are low in
the picture, so speeds are compared within a row of cells: z = (speed − centre) / spread, both from normal footage. A
cell has the higher z of the two. It rises with speed alone: what moves slowly or not at all is normal.

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

#: Quantiles of a row's speeds: its centre, and one spread above it. A row holds things at several distances and
#: swinging legs, so its fast side is long, and longer in some rows than in others. The spread from the median to the
#: quantile 0.84 did not show that: of 72 incidents in four rendered courtyards (seeds 19401 to 19404; by hand), speed
#: alone found 35 at 6 false alarms an hour with it, and 56 with these quantiles. On the normal videos of Ped2, footage
#: 1.5 times as fast had an AUC of 0.994 with it, and of 0.996 with these. Quantiles above 0.95 gained nothing more, and
#: 2 % of incidents would shift them.
_CENTRE, _ONE_SPREAD = 0.75, 0.95
#: Number by which z of speeds up or down is divided. Their tails are longer: at 1, the higher z of the two is mostly
#: theirs, and carts were lost in the courtyards; at 2, falls and scuffles were (seeds 19401 to 19405; by hand).
_VERTICAL = 1.5

Speeds = npt.NDArray[np.float32]  #: (h, w), or (n, h, w)
Motion = npt.NDArray[np.float32]  #: (2, h, w), or (n, 2, h, w): speed, and speed up or down


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
    across, down, shake = _own_motion(flow)
    speed = _length(across, down)
    (speeds,) = _means([speed], _moving(speed))
    return speeds, shake


def cell_motion(flow: npt.NDArray[np.float32]) -> Motion:
    """Return the speed of each cell and its speed up or down, as :func:`cell_speeds`: (2, H / CELL, W / CELL).

    Raises:
        ValueError: a flow of another shape.
    """
    across, down, _ = _own_motion(flow)
    speed = _length(across, down)
    return np.stack(_means([speed, np.abs(down)], _moving(speed)))


def _own_motion(
    flow: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the flow's two parts without the camera's shake, (H, W) each, and the shake, (2,).

    The parts are apart, as numpy computes along the last axis, and takes ten times as long where that has two elements.
    """
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.shape[0] % CELL or flow.shape[1] % CELL or not flow.size:
        raise ValueError(f"flow must be (H, W, 2), H and W multiples of {CELL}, got {flow.shape}")
    shake = np.array([np.median(flow[::2, ::2, part]) for part in range(2)], np.float32)
    return flow[..., 0] - shake[0], flow[..., 1] - shake[1], shake


def _length(across: npt.NDArray[np.float32], down: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length: npt.NDArray[np.float32] = np.sqrt(across**2 + down**2)
    return length


def _moving(speed: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return how much each pixel counts, from 0 to 1, by its speed; pixels at the picture's border do not."""
    moving: npt.NDArray[np.float32] = np.clip(speed / np.float32(FLOOR) - 1, 0, 1)
    for border in (moving[:CELL], moving[-CELL:], moving[:, :CELL], moving[:, -CELL:]):
        border[...] = 0
    return moving


def _means(values: list[npt.NDArray[np.float32]], moving: npt.NDArray[np.float32]) -> list[Speeds]:
    """Return the mean of each of ``values``, (H, W), over the moving pixels in the window of each cell."""
    weights = _window_sums(moving) + np.float32(_SPECK_PIXELS)
    return [_window_sums(np.multiply(moving, each)) / weights for each in values]


def _window_sums(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the sum over 3 × 3 cells around each cell, less at the borders: (H, W) → (H / CELL, W / CELL)."""
    height, width = values.shape
    rows_of_cells = values.reshape(height // CELL, CELL, width).sum(axis=1)  # first, as whole rows are added fast
    cells = rows_of_cells.reshape(height // CELL, width // CELL, CELL).sum(axis=2)
    padded = np.pad(cells, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    sums: npt.NDArray[np.float32] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return sums


@dataclass(frozen=True, slots=True)
class RowStatistics:
    """Normal motion of moving cells in each row of cells: of their speeds, and of their speeds up or down.

    Attributes:
        centre: float32 (2, h), a high quantile, pixels a gap.
        spread: float32 (2, h), above 0: from there to a higher quantile, pixels a gap. Slow things do not widen it.

    Raises:
        ValueError: other shapes, or a spread that is not above 0.
    """

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.centre.ndim != 2 or len(self.centre) != 2 or self.centre.shape != self.spread.shape:
            raise ValueError(f"expected two centres and spreads a row, got {self.centre.shape} and {self.spread.shape}")
        if not (np.isfinite(self.centre).all() and np.isfinite(self.spread).all() and (self.spread > 0).all()):
            raise ValueError("centre and spread must be finite, and spread above 0")

    def deviations(self, motion: Motion) -> Speeds:
        """Return the higher z of each cell: (2, h, w) → (h, w), (n, 2, h, w) → (n, h, w)."""
        higher: Speeds = ((motion - self.centre[..., None]) / self.spread[..., None]).max(axis=-3)
        return higher


class MotionHistogram:
    """Counts of the speeds of moving cells by rows, from footage of any length in the memory of one picture.

    Args:
        rows: number of rows of cells, h.
    """

    def __init__(self, rows: int) -> None:
        self.counts = np.zeros((2, rows, len(_EDGES) - 1), np.int64)

    def add(self, motion: Motion) -> None:
        """Count the cells of pictures, (2, h, w) or (n, 2, h, w)."""
        at = np.searchsorted(_EDGES, np.minimum(motion, _EDGES[-1] * 0.999), side="right") - 1
        kind, row = (np.broadcast_to(place[..., None], motion.shape) for place in np.indices(self.counts.shape[:2]))
        np.add.at(self.counts, (kind[at >= 0], row[at >= 0], at[at >= 0]), 1)

    def statistics(self) -> RowStatistics:
        """Return the statistics of each row; of a camera at which hardly anything moves, those of slow motion.

        They are quantiles: a few per cent of incidents among the footage shift them little.
        """
        found = np.array([[_row(of, row) for row in range(len(of))] for of in self.counts], np.float32)
        spread = np.maximum(found[..., 1], np.float32(_LEAST_SPREAD))
        spread[1] *= np.float32(_VERTICAL)
        return RowStatistics(found[..., 0], spread)


def _row(counts: npt.NDArray[np.int64], row: int) -> tuple[float, float]:
    """Return centre and spread of a row, from the counts of all rows, (h, bins)."""
    for reach in range(len(counts)):
        near = counts[max(row - reach, 0) : row + reach + 1].sum(axis=0)
        if near.sum() >= _LEAST_CELLS:
            centre, high = _quantiles(near, (_CENTRE, _ONE_SPREAD))
            return centre, high - centre
    return 2 * FLOOR, FLOOR


def _quantiles(counts: npt.NDArray[np.int64], shares: tuple[float, ...]) -> list[float]:
    """Return quantiles of binned speeds, interpolated within their bins."""
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return [float(np.interp(share, below, _EDGES)) for share in shares]
