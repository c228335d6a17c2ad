"""The most unusual digits as a picture: each one beside its reconstruction, with rank, label, index and error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from models.data.digits import SIDE
from models.detectors.autoencoder.dense import Items
from pipeline import files

Picture = npt.NDArray[np.uint8]

#: Pixels of the drawing for one of a digit; of the border around a tile; and of the lines of text above its digits.
_SCALE, _BORDER, _TEXT = 14, 12, 44
_COLUMNS = 5  #: of tiles
_BLACK = (0, 0, 0)


class Unusual(NamedTuple):
    """An unusual digit.

    Attributes:
        ordinal: its index in the data.
        error: mean squared error of its reconstruction.
        pixels, reconstructed: float32 (64,), 0 to 1.
    """

    ordinal: int
    label: int
    error: float
    pixels: Items
    reconstructed: Items


def draw_unusual(file: Path, found: Sequence[Unusual]) -> None:
    """Write the picture as PNG, the most unusual digit first. Raises OSError."""
    tiles = [_tile(rank, one) for rank, one in enumerate(found, 1)]
    columns = min(_COLUMNS, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[first : first + columns], axis=1) for first in range(0, len(tiles), columns)]
    encoded = cv2.imencode(".png", np.concatenate(rows))[1]
    files.write_bytes(file, encoded.tobytes())


def _tile(rank: int, one: Unusual) -> Picture:
    pair = [_enlarged(pixels) for pixels in (one.pixels, one.reconstructed)]
    gap = np.full((pair[0].shape[0], _BORDER // 2, 3), 255, np.uint8)
    digits = np.concatenate([pair[0], gap, pair[1]], axis=1)
    tile = cv2.copyMakeBorder(
        digits, _BORDER + _TEXT, _BORDER, _BORDER, _BORDER, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    lines = (f"{rank}. label {one.label}, no. {one.ordinal}", f"error {one.error:.4f}; reconstructed:")
    for at, line in enumerate(lines):
        place = (_BORDER, _BORDER + 14 + 20 * at)
        cv2.putText(tile, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _BLACK, 1, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)


def _enlarged(pixels: Items) -> Picture:
    """Return a digit as dark ink on white in a thin frame, (64,) → (H, W, 3)."""
    grey = np.round(255 * (1 - pixels.reshape(SIDE, SIDE))).astype(np.uint8)
    large = np.repeat(np.kron(grey, np.ones((_SCALE, _SCALE), np.uint8))[..., None], 3, axis=-1)
    return np.asarray(cv2.rectangle(large, (0, 0), (large.shape[1] - 1, large.shape[0] - 1), (180, 180, 180)), np.uint8)
