"""The stage ``sample``: descriptors of patches, drawn at random from the footage that is learned from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.camera_clips import sparse_clips
from models.data.normal_footage import NormalFootage
from models.data.one_scene import OneScene
from models.data.reservoir import Reservoir
from models.detectors.memory_bank.descriptors import DESCRIPTORS, descriptor_network
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
    """Write the sample, and check that the footage shows one scene.

    Args:
        progress: called with the seconds of the footage that are done.
        report: called with a line for each film that is damaged or has several video streams.

    Raises:
        FootageError: the footage is too short, or shows several scenes or none.
        SourceError: a film cannot be read.
        WeightsError: the backbone's weights are not in the cache.
        OSError: the folder cannot be written.
    """
    clip = recipe.clip(footage)
    network = descriptor_network(recipe.layers, recipe.enlarge, clip).open()
    scene, patches = OneScene(footage.camera), Reservoir(recipe.sample)
    learned = held_back = 0
    for one in sparse_clips(footage, clip, _PICTURES, report):
        scene.add(one)
        if one.held_back:
            held_back += 1
        else:
            learned += 1
            found = network.run(one.window.pixels[-1:])[DESCRIPTORS][0]
            patches.add(np.ascontiguousarray(found.reshape(len(found), -1).T))
        progress(one.end)
    scene.finish()
    footage.check_enough(learned, held_back)
    np.save(folder / FILE, patches.rows())


def read(folder: Path) -> npt.NDArray[np.float32]:
    """Return the descriptors, float32 (n, C). Raises OSError."""
    patches: npt.NDArray[np.float32] = np.load(folder / FILE, allow_pickle=False)
    return patches
