"""The stage ``judging``: figures on pictures that the training has not seen.

figures.json    by level and class (:func:`models.places.judging.figures_by_level`); empty without judged pictures
samples.png     some judged pictures, with the true classes and the decided ones
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.jobs.rows import read_json, write_json
from models.places.batches import whole_view
from models.places.data_set import PlaceSet
from models.places.judging import count_pixels, figures_by_level
from models.places.learner import Learner
from models.places.place_data import PlaceData
from models.places.samples_picture import draw_samples

FIGURES_FILE, PICTURE_FILE = "figures.json", "samples.png"
#: Drawn are the judged pictures with the most classes.
SAMPLES = 5


def compute(
    folder: Path, learner: Learner, data: PlaceData, size: tuple[int, int], progress: Callable[[int], None]
) -> None:
    """Write them.

    Args:
        size: height and width of the pictures that the network reads.
        progress: called with the number of pictures that are judged.

    Raises:
        MaskError: a picture or its mask cannot be read.
        OSError: the folder cannot be written.
    """
    if data.judged is None:
        write_json(folder / FIGURES_FILE, {})
        return
    counts = count_pixels(learner, data.tree, data.judged, size, progress)
    write_json(folder / FIGURES_FILE, figures_by_level(data.tree, counts))
    drawn = []
    for index in _richest(data.judged):
        sample = whole_view(data.judged.sample(index), size)
        decided = learner.decide(torch.from_numpy(sample.picture)[None])[0].numpy()
        drawn.append((sample.picture, sample.nodes, decided))
    draw_samples(folder / PICTURE_FILE, drawn, data.tree)


def read(folder: Path) -> dict[str, Any]:
    """Return the figures. Raises OSError."""
    figures: dict[str, Any] = read_json(folder / FIGURES_FILE)
    return figures


def _richest(judged: PlaceSet) -> list[int]:
    numbers = np.array([len(np.unique(judged.sample(index).nodes)) for index in range(len(judged))])
    return [int(index) for index in np.argsort(-numbers, kind="stable")[:SAMPLES]]
