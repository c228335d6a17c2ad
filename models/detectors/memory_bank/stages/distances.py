"""The stage ``distances``: how far every cell of every clip of the footage is from normal, on the disk; 5 kB a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.clip_places import ClipPlaces, PlaceList
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows, Rows
from models.detectors.memory_bank.descriptors import DESCRIPTORS, descriptor_network
from models.detectors.memory_bank.distances import Normality, cell_distances
from models.detectors.memory_bank.recipe import MemoryBankRecipe

DISTANCES_FILE, PLACES_FILE = "distances.npy", "places.npz"


@dataclass(frozen=True, slots=True)
class ClipDistances:
    """The n clips of the footage, in order.

    Attributes:
        distances: float32 (n, h, w), on the disk until they are looked at.
    """

    distances: Rows
    places: ClipPlaces


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: MemoryBankRecipe,
    normality: Normality,
    progress: Callable[[float], None],
) -> None:
    """Write the distances.

    Args:
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError, SourceError: a film cannot be used.
        WeightsError: the backbone's weights are not in the cache.
        OSError: the folder cannot be written.
    """
    clip = recipe.clip(footage)
    network = descriptor_network(recipe.layers, recipe.enlarge, clip).open()
    rows = NpyRows(folder / DISTANCES_FILE, np.float32)
    places = PlaceList()
    try:
        for one in footage.clips(clip):
            found = network.run(one.window.pixels[-1:])[DESCRIPTORS][0]
            rows.add(cell_distances(normality, found)[None])
            places.add(one)
            progress(one.end)
    finally:
        rows.close()
    places.places().write(folder / PLACES_FILE)


def read(folder: Path) -> ClipDistances:
    """Return what :func:`compute` wrote. Raises OSError."""
    return ClipDistances(NpyFile(folder / DISTANCES_FILE), ClipPlaces.read(folder / PLACES_FILE))
