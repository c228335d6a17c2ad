"""The stage ``features``: the input of the head for each picture, as a whole and in its views.

    features.npy    float32 (n, 1 + views, ...): the whole picture first

The convolutions are not trained, so each view passes through them once, whatever the number of epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.data.npy_rows import NpyFile, NpyRows, Rows
from models.detectors.classifier.networks import Head
from models.detectors.classifier.recipe import ClassifierRecipe
from models.detectors.classifier.views import view, whole
from models.jobs.stages import SCRATCH

FILE = "features.npy"
#: Pictures after which a killed stage resumes.
_PART = 20
#: Views that pass through the network at once: more need more memory and are not faster on a CPU.
_AT_ONCE = 4


def compute(
    folder: Path,
    pictures: Rows,
    maps: nn.Module,
    head: Head,
    recipe: ClassifierRecipe,
    seed: int,
    progress: Callable[[int], None],
) -> None:
    """Write them.

    Args:
        pictures: uint8 (n, H', W', 3) RGB.
        progress: called with the number of pictures that are done.

    Raises:
        OSError: the folder cannot be written.
    """
    parts = folder / SCRATCH
    parts.mkdir(exist_ok=True)
    for first in range(0, len(pictures), _PART):
        file = parts / f"{first}.npy"
        if not file.exists():
            found = [
                _of_picture(np.asarray(pictures[at]), at, maps, head, recipe, seed)
                for at in range(first, min(first + _PART, len(pictures)))
            ]
            draft = file.with_suffix(".draft")
            with draft.open("wb") as handle:
                np.save(handle, np.stack(found))
            draft.rename(file)
        progress(min(first + _PART, len(pictures)))
    store = NpyRows(folder / FILE, np.float32)
    try:
        for first in range(0, len(pictures), _PART):
            store.add(np.load(parts / f"{first}.npy", allow_pickle=False))
    finally:
        store.close()


def read(folder: Path) -> NpyFile:
    """Return what :func:`compute` wrote. Raises OSError."""
    return NpyFile(folder / FILE)


def _of_picture(
    picture: np.ndarray, ordinal: int, maps: nn.Module, head: Head, recipe: ClassifierRecipe, seed: int
) -> np.ndarray:
    """Return what the head reads of the whole picture and of its views, float32 (1 + views, ...)."""
    views = [whole(picture, recipe)] + [
        view(picture, recipe, seed=seed, ordinal=ordinal, number=number) for number in range(recipe.augmentation.views)
    ]
    given = torch.from_numpy(np.stack(views))
    with torch.inference_mode():
        parts = [head.read(maps(part)) for part in torch.split(given, _AT_ONCE)]
    return torch.cat(parts).numpy()
