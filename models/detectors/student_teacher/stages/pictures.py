"""The stage ``pictures``: a sample of the footage that is learned from, on the disk; 260 kB a picture of 360 × 240."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.camera_clips import sample_of_one_scene
from models.data.flow import DenseFlow
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from operators.motion import CELL, cell_speeds

PICTURES_FILE, SPEEDS_FILE = "pictures.npy", "speeds.npy"


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample of n pictures.

    Attributes:
        pictures: uint8 (n, H, W, 3) RGB.
        speeds: of their cells, float32 (n, H / 8, W / 8), pixels a gap; None where they are not learned.
    """

    pictures: NpyFile
    speeds: NpyFile | None


def compute(
    folder: Path,
    footage: NormalFootage,
    recipe: StudentTeacherRecipe,
    progress: Callable[[float], None],
    report: Callable[[str], None],
) -> None:
    """Write the sample, and check the footage (:func:`models.data.camera_clips.sample_of_one_scene`).

    Raises:
        FootageError, SourceError: the footage cannot be learned from, or not be read.
        OSError: the folder cannot be written.
    """
    clip, most = recipe.clip(footage), math.ceil(recipe.pictures / (1 - footage.hold_out))
    flow = DenseFlow()
    pictures = NpyRows(folder / PICTURES_FILE, np.uint8, (clip.height, clip.width, 3))
    speeds = NpyRows(folder / SPEEDS_FILE, np.float32, (clip.height // CELL, clip.width // CELL))
    try:
        for one in sample_of_one_scene(footage, clip, most, report=report, progress=progress):
            if one.held_back:
                continue
            shown = one.window.pixels
            pictures.add(shown[-1:])
            if recipe.speed:
                speeds.add(cell_speeds(flow.between(shown[0], shown[-1]))[0][None])
    finally:
        pictures.close()
        speeds.close()
    if not recipe.speed:
        (folder / SPEEDS_FILE).unlink()


def read(folder: Path) -> Sample:
    """Return what :func:`compute` wrote. Raises OSError."""
    speeds = folder / SPEEDS_FILE
    return Sample(NpyFile(folder / PICTURES_FILE), NpyFile(speeds) if speeds.exists() else None)
