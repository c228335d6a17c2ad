"""A tiny world to learn: coloured squares on grey noise. Masks know squares, and boxes alone know their colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.places.data_set import PlaceSample
from models.places.place_data import PlaceData
from models.places.tree import DataSet, LabelTree
from operators.figures.segments import VOID

HEIGHT, WIDTH, MARGIN = 48, 64, 3
TREE = LabelTree(
    {"root": ("field", "square"), "square": ("red", "blue")},
    {
        "masks": DataSet(annotation="masks", labels=("field", "square")),
        "boxes": DataSet(annotation="boxes", labels=("red", "blue")),
    },
    ("square",),
)
_COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


class Squares:
    """Pictures with a red and a blue square each.

    Args:
        kind: ``masks``, ``boxes`` (wider than the squares by a margin) or ``judged`` (the colours' dense masks).
    """

    def __init__(self, kind: str, number: int, seed: int) -> None:
        self.name, self.of_boxes, self.digest = kind, kind == "boxes", f"{kind} {number} {seed}"
        self._number, self._seed = number, seed
        self.read: list[int] = []

    def __len__(self) -> int:
        return self._number

    def sample(self, index: int) -> PlaceSample:
        self.read.append(index)
        draw = np.random.default_rng([self._seed, index])
        picture = draw.integers(90, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        outside = {"masks": TREE.index["field"], "judged": TREE.index["field"], "boxes": VOID}[self.name]
        nodes = np.full((HEIGHT, WIDTH), outside, np.int64)
        for half, colour in enumerate(draw.permutation(["red", "blue"])):
            side = int(draw.integers(14, 22))
            top = int(draw.integers(MARGIN, HEIGHT - side - MARGIN))
            left = half * WIDTH // 2 + int(draw.integers(MARGIN, WIDTH // 2 - side - MARGIN))
            picture[top : top + side, left : left + side] = _COLOURS[str(colour)]
            wider = MARGIN if self.of_boxes else 0
            node = TREE.index["square" if self.name == "masks" else str(colour)]
            nodes[top - wider : top + side + wider, left - wider : left + side + wider] = node
        return PlaceSample(picture, nodes)


class SquareSources:
    """The squares as sources of a job; ``prepared`` counts what is rendered."""

    def __init__(self, **sets: Squares) -> None:
        self.inputs: dict[str, object] = {}
        self.prepared = 0
        self.data = PlaceData(
            TREE,
            {"masks": Squares("masks", 30, 1), "boxes": Squares("boxes", 30, 2), **sets},
            Squares("judged", 6, 3),
            "6 pictures of squares",
        )

    def prepare(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        self.prepared += 1

    def read(self, folder: Path) -> PlaceData:
        return self.data
