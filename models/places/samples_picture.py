"""Judged pictures beside their true classes and the decided ones, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.places.tree import LabelTree
from operators.figures.segments import VOID
from pipeline import files

Picture = npt.NDArray[np.uint8]
Nodes = npt.NDArray[np.int64]

#: Width of each of the three columns, height of a line of text, and gap, pixels.
WIDTH, TEXT, GAP = 400, 22, 6
TITLES = ("picture", "truth", "decision")
#: Step of OpenCV's hue (0 to 179) from node to node, by the golden ratio: neighbours in the list differ most.
_HUE_STEP = 111.2


def draw_samples(file: Path, samples: Sequence[tuple[Picture, Nodes, Nodes]], tree: LabelTree) -> None:
    """Write the picture as PNG.

    Args:
        samples: picture uint8 (H, W, 3) RGB, true nodes and decided nodes (H, W), for each; at least one.

    Raises:
        OSError: the file cannot be written.
    """
    colours = node_colours(tree)
    rows = [_row([_text(title) for title in TITLES])]
    for picture, truth, decided in samples:
        rows.append(_row([_scaled(picture), _scaled(colours[truth]), _scaled(colours[decided])]))
    used = sorted({int(node) for _, *both in samples for nodes in both for node in np.unique(nodes)} - {VOID})
    legend = [_text(tree.nodes[node], colours[node]) for node in used] + [_text("no class", colours[VOID])]
    for first in range(0, len(legend), 3):
        some = legend[first : first + 3]
        rows.append(_row([*some, *[_text("")] * (3 - len(some))]))
    encoded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1]
    files.write_bytes(file, encoded.tobytes())


def node_colours(tree: LabelTree) -> Picture:
    """Return a colour for each node, uint8 (nodes + 1, 3) RGB: strong for things, and black at VOID, the last."""
    hsv = np.zeros((1, len(tree.nodes) + 1, 3), np.uint8)
    for at, node in enumerate(tree.nodes):
        hsv[0, at] = (round(at * _HUE_STEP) % 180, 255 if node in tree.things else 90, 250 - 45 * (at % 3))
    colours: Picture = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.uint8)
    colours[VOID] = 0
    return colours


def _row(tiles: Sequence[Picture]) -> Picture:
    gap = np.full((tiles[0].shape[0], GAP, 3), 255, np.uint8)
    across = np.concatenate([part for tile in tiles for part in (gap, tile)], axis=1)
    return np.concatenate([across, np.full((GAP, across.shape[1], 3), 255, np.uint8)])


def _scaled(picture: Picture) -> Picture:
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    return np.asarray(cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _text(text: str, colour: Picture | None = None) -> Picture:
    """Return a line of text, behind a square of a colour if one is given."""
    tile = np.full((TEXT, WIDTH, 3), 255, np.uint8)
    if colour is not None:
        tile[2:-2, : TEXT - 4] = colour
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    cv2.putText(tile, plain, (TEXT, TEXT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return tile
