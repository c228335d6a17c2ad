"""The stage ``pictures``: a sample of the footage that is learned from, on the disk; 260 kB a picture of 360 × 240."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.camera_clips import frames_apart, sparse_clips
from models.data.flow import DenseFlow
from models.data.normal_footage import NormalFootage
from models.data.npy_rows import NpyFile, NpyRows
from models.data.one_scene import OneScene
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
    """Write the sample, and check that the footage shows one scene.

    Args:
        progress: called with the seconds of the footage that are done.
        report: called with a line for each film that is damaged or has several video streams.

    Raises:
        FootageError: the footage is too short, or shows several scenes or none.
        SourceError: a film cannot be read.
        OSError: the folder cannot be written.
    """
    clip, most = recipe.clip(footage), math.ceil(recipe.pictures / (1 - footage.hold_out))
    scene, flow = OneScene(footage.camera), DenseFlow()
    pictures = NpyRows(folder / PICTURES_FILE, np.uint8, (clip.height, clip.width, 3))
    speeds = NpyRows(folder / SPEEDS_FILE, np.float32, (clip.height // CELL, clip.width // CELL))
    counts = [0, 0]
    try:
        for one in sparse_clips(footage, clip, most, report):
            scene.add(one)
            counts[one.held_back] += 1
            progress(one.end)
            if one.held_back:
                continue
            shown = one.window.pixels
            pictures.add(shown[-1:])
            if recipe.speed:
                speeds.add(cell_speeds(flow.between(shown[0], shown[-1]))[0][None])
    finally:
        pictures.close()
        speeds.close()
    scene.finish()
    # The sample stands for so many clips as they come live, of which the scale of scores is fitted to those held back.
    footage.check_enough(*(count * frames_apart(footage, clip, most) for count in counts))
    if not recipe.speed:
        (folder / SPEEDS_FILE).unlink()


def read(folder: Path) -> Sample:
    """Return what :func:`compute` wrote. Raises OSError."""
    speeds = folder / SPEEDS_FILE
    return Sample(NpyFile(folder / PICTURES_FILE), NpyFile(speeds) if speeds.exists() else None)
