"""The stage ``sample``: descriptors of patches, drawn at random from the footage that is learned from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.camera_clips import sample_of_one_scene
from models.data.normal_footage import NormalFootage
from models.data.reservoir import Reservoir
from models.detectors.memory_bank.descriptors import descriptor_network
from models.detectors.memory_bank.program import DESCRIPTORS
from models.detectors.memory_bank.recipe import MemoryBankRecipe

FILE = "patches.npy"
#: Pictures from which patches are drawn: neighbours in time show the same.
_PICTURES = 1200


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: MemoryBankRecipe,
    progress: Callable[[float], None],
    report: Callable[[str], None],
) -> None:
    """Write the sample, and check the footage (:func:`models.data.camera_clips.sample_of_one_scene`).

    Raises:
        FootageError, SourceError: the footage cannot be learned from, or not be read.
        WeightsError: the backbone's weights are not in the cache.
        OSError: the folder cannot be written.
    """
    clip = recipe.clip(footage)
    network = descriptor_network(recipe.layers, recipe.enlarge, clip, recipe.grid).open()
    patches = Reservoir(recipe.sample)
    for one in sample_of_one_scene(footage, clip, _PICTURES, report=report, progress=progress):
        if not one.held_back:
            found = network.run(one.window.pixels[-1:])[DESCRIPTORS][0]
            patches.add(np.ascontiguousarray(found.reshape(len(found), -1).T))
    np.save(folder / FILE, patches.rows())


def read(folder: Path) -> npt.NDArray[np.float32]:
    """Return the descriptors, float32 (n, C). Raises OSError."""
    patches: npt.NDArray[np.float32] = np.load(folder / FILE, allow_pickle=False)
    return patches
