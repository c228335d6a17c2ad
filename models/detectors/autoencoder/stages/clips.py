"""The stage ``clips``: a sample of the footage that is learned from, on the disk; 260 kB a picture of 360 × 240."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.data.camera_clips import sample_of_one_scene
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows
from models.detectors.autoencoder.recipe import AutoencoderRecipe

FILE = "clips.npy"


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: AutoencoderRecipe,
    progress: Callable[[float], None],
    report: Callable[[str], None],
) -> None:
    """Write the sample, and check the footage (:func:`models.data.camera_clips.sample_of_one_scene`).

    Raises:
        FootageError, SourceError: the footage cannot be learned from, or not be read.
        OSError: the folder cannot be written.
    """
    clip, most = recipe.clip(footage), math.ceil(recipe.clips / (1 - footage.hold_out))
    clips = NpyRows(folder / FILE, np.uint8, (clip.frames, clip.height, clip.width, 3))
    try:
        for one in sample_of_one_scene(footage, clip, most, report=report, progress=progress):
            if not one.held_back:
                clips.add(one.window.pixels[None])
    finally:
        clips.close()


def read(folder: Path) -> NpyFile:
    """Return the clips, uint8 (n, T, H, W, 3) RGB. Raises OSError."""
    return NpyFile(folder / FILE)
