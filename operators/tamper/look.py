"""A look: the summary of one picture that the operators of tampering compare.

A look is made of a few rows of the luma plane, without converting or scaling the picture: for each of 36 cells down,
two pairs of rows, brought to about 320 pixels across so that gradients mean the same at every resolution. At
1920×1080 this reads 7 % of the plane.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROWS, COLUMNS = 36, 64  #: cells of a look
#: Smaller pictures have fewer pixels than cells need.
LEAST_HEIGHT, LEAST_WIDTH = 72, 128

_WIDTH = 320  # pixels across at which gradients are taken: half the noise of 640, and the cost
_PAIRS = 2  # of rows in a cell

# Luma of a damaged cell differs by at most this: a decoder's grey is exact, and an encoder behind it adds a little.
# Sensors have more noise in 40 pixels.
_FLAT = 1.0
_STEP = 0.5  # mean difference along the row
_GREY, _GREY_BY = 128, 2  # luma of a picture that a decoder had no data for
_GREEN = 40  # U and V are both below it in a picture of zero bytes, and in no colour that a camera sees
_SMEARED = 2.0  # mean difference along the row of an area whose rows are copies

Floats = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The summary of one picture.

    Attributes:
        grey: float32 (36, 64): mean luma of each cell, 0 to 255.
        detail: float32 (36, 64): mean absolute luma difference of neighbours, along rows plus across them.
        digest: of the sampled pixels: equal pictures have equal digests.
        damaged: share of cells that show a decoder's grey or green, or copied rows.
    """

    grey: Floats
    detail: Floats
    digest: int
    damaged: float


def can_look(height: int, width: int) -> bool:
    """Return whether pictures of this size, pixels, are large enough."""
    return height >= LEAST_HEIGHT and width >= LEAST_WIDTH


def look_at(luma: Plane, chroma: tuple[Plane, Plane] | None = None) -> Look:
    """Return the look of a picture.

    Args:
        luma: uint8 (H, W), a view of the decoded plane.
        chroma: the planes U and V, of any subsampling; None: the decoder's green is not looked for.

    Raises:
        ValueError: the picture is too small.
    """
    height, width = luma.shape
    if not can_look(height, width):
        raise ValueError(f"picture must be at least {LEAST_WIDTH}x{LEAST_HEIGHT} pixels, got {width}x{height}")
    step = max(1, round(width / _WIDTH))
    across = width // (COLUMNS * step)  # sampled pixels of a cell
    left = (width - across * COLUMNS * step) // 2
    rows = luma[_sampled_rows(height, step), left : left + across * COLUMNS * step]
    fine = rows[:, 0::step].astype(np.float32)
    for offset in range(1, step):
        fine += rows[:, offset::step]
    if step > 1:
        fine /= step
    along = np.zeros_like(fine)
    np.subtract(fine[:, 1:], fine[:, :-1], out=along[:, :-1])
    np.abs(along, out=along)
    pairs = fine.reshape(ROWS * _PAIRS, 2, -1)
    down = pairs[:, 0] - pairs[:, 1]
    np.abs(down, out=down)
    grey, mean_along, mean_down = (_means(values, across) for values in (fine, along, down))
    level = _means((down > _FLAT).astype(np.float32), across) == 0
    smeared = level & (mean_along >= _SMEARED)
    flat = level & (mean_along <= _STEP)
    damaged = smeared | (flat & (np.abs(grey - _GREY) <= _GREY_BY))
    if chroma is not None:
        u, v = (_sampled(plane) for plane in chroma)
        damaged |= (u < _GREEN) & (v < _GREEN)
    return Look(
        grey=grey,
        detail=mean_along + mean_down,
        digest=zlib.crc32(rows.tobytes()),
        damaged=float(damaged.mean()),
    )


def structure(detail: Floats) -> Floats:
    """Return the detail above that of the picture's flattest cells, which is noise: float32 (36, 64), at least 0."""
    noise = np.partition(detail, detail.size // 10, axis=None)[detail.size // 10]
    return np.asarray(np.maximum(detail - noise, 0), np.float32)


def without_shade(grey: Floats) -> Floats:
    """Return the differences of cells from the mean of the 5×5 cells around them: float32 (36, 64)."""
    padded = np.pad(grey, ((3, 2), (3, 2)), mode="edge")
    sums = padded.cumsum(axis=0, dtype=np.float32).cumsum(axis=1, dtype=np.float32)
    around = sums[5:, 5:] - sums[:-5, 5:] - sums[5:, :-5] + sums[:-5, :-5]
    return np.asarray(grey - around / 25, np.float32)


def _means(values: Floats, across: int) -> Floats:
    """Return the means of each cell's pixels, from rows of pixels: float32 (36, 64)."""
    # A product with ones is several times as fast as a sum over short axes.
    sums = values.reshape(-1, across) @ np.ones(across, np.float32)
    cells = sums.reshape(ROWS, -1, COLUMNS)
    return np.asarray(cells.sum(axis=1) / np.float32(across * cells.shape[1]), np.float32)


def _sampled_rows(height: int, step: int) -> npt.NDArray[np.intp]:
    """Return the numbers of the sampled rows, in the order cell, pair, row of the pair."""
    tops = ((np.arange(ROWS * _PAIRS) + 0.5) * height / (ROWS * _PAIRS)).astype(np.intp)
    tops = np.minimum(tops, height - 1 - step)
    return np.stack([tops, tops + step], axis=1).ravel()


def _sampled(plane: Plane) -> Plane:
    """Return one pixel of each cell: uint8 (36, 64)."""
    height, width = plane.shape
    down = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(np.intp)
    across = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(np.intp)
    return np.asarray(plane[down[:, None], across])
