"""The clusters as a picture: a row for each, with the pictures that belong to it most surely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.alike.pictures.picture_set import Pixels
from pipeline import files

#: Pictures of a row, their side in the drawing, the gap between them, and the height of a row's text, pixels.
COLUMNS, SIDE, GAP, TEXT = 12, 64, 6, 20
#: Width of the text that is never cut, pixels.
_LEAST_WIDTH = 480
_BLACK = (0, 0, 0)


def draw_clusters(file: Path, pixels: Pixels, probabilities: npt.NDArray[np.float32], titles: Sequence[str]) -> None:
    """Write the picture as PNG.

    Args:
        pixels: of n pictures, uint8 (n, H, W, C).
        probabilities: of the clusters for each, (n, clusters).
        titles: of the clusters, in plain ASCII: OpenCV draws no other letters.

    Raises:
        OSError: the file cannot be written.
    """
    clusters = probabilities.argmax(axis=1)
    rows = []
    for cluster, title in enumerate(titles):
        members = np.flatnonzero(clusters == cluster)
        surest = members[np.argsort(-probabilities[members, cluster], kind="stable")][:COLUMNS]
        rows.append(_row([_tile(pixels[at]) for at in surest], title))
    encoded = cv2.imencode(".png", np.concatenate(rows))[1]
    files.write_bytes(file, encoded.tobytes())


def _row(tiles: Sequence[Pixels], title: str) -> Pixels:
    width = max(_LEAST_WIDTH, GAP + COLUMNS * (SIDE + GAP))
    row = np.full((TEXT + SIDE + GAP, width, 3), 255, np.uint8)
    cv2.putText(row, title, (GAP, TEXT - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _BLACK, 1, cv2.LINE_AA)
    for at, tile in enumerate(tiles):
        left = GAP + at * (SIDE + GAP)
        row[TEXT : TEXT + SIDE, left : left + SIDE] = tile
    return row


def _tile(picture: Pixels) -> Pixels:
    """Return a picture stretched to a tile, uint8 (SIDE, SIDE, 3) in OpenCV's order of channels."""
    larger = picture.shape[0] < SIDE
    scaled = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST if larger else cv2.INTER_AREA)
    colour = cv2.COLOR_GRAY2BGR if picture.shape[2] == 1 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(scaled, colour), np.uint8)
