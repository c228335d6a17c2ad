"""Patches of still pictures, drawn as in the paper: an anchor, and the same place seen a little differently."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from models.detectors.student_teacher.teacher_recipe import PatchChoice
from models.jobs.errors import TrainingError
from pipeline.sources.frame_folder import PICTURE_SUFFIXES

Picture = npt.NDArray[np.uint8]


class Pair(NamedTuple):
    """Two patches of one picture, uint8 (p, p, 3) RGB."""

    anchor: Picture
    positive: Picture


def pictures_below(choice: PatchChoice) -> list[Path]:
    """Return the pictures below the folder, in the order of their names.

    Raises:
        TrainingError: the folder is missing, or holds none.
    """
    found = sorted(file for file in choice.folder.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        advice = f"; {choice.obtain}" if choice.obtain else ""
        raise TrainingError(f"stills.folder: {choice.folder}: no pictures there; expected a folder of them{advice}")
    return found


def draw_pair(file: Path, patch: int, choice: PatchChoice, random: np.random.Generator) -> Pair:
    """Draw an anchor and its positive from a picture, which is scaled to a side that is drawn, too.

    Args:
        patch: receptive field p, pixels.

    Raises:
        TrainingError: the file is not a picture.
    """
    try:
        read = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        read = None
    if read is None:
        raise TrainingError(f"{file}: not a picture that can be read; remove it from the folder")
    least, most = choice.sides
    side = int(random.integers(least * patch, most * patch + 1))
    factor = side / min(read.shape[:2])
    height, width = (max(side, round(size * factor)) for size in read.shape[:2])
    picture = np.asarray(cv2.resize(read, (width, height), interpolation=cv2.INTER_AREA), np.uint8)[..., ::-1]
    if random.random() < choice.grey:
        picture = np.repeat(picture.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    shift = (patch - 1) // 4
    top, left = int(random.integers(height - patch + 1)), int(random.integers(width - patch + 1))
    down, right = random.integers(-shift, shift + 1, size=2)
    near = int(np.clip(top + down, 0, height - patch)), int(np.clip(left + right, 0, width - patch))
    return Pair(_cut(picture, top, left, patch), _changed(_cut(picture, *near, patch), choice, random))


def _cut(picture: Picture, top: int, left: int, patch: int) -> Picture:
    return picture[top : top + patch, left : left + patch]


def _changed(patch: Picture, choice: PatchChoice, random: np.random.Generator) -> Picture:
    """Return a patch with another brightness, and noise."""
    factor = 1 + random.uniform(-choice.brightness, choice.brightness)
    noise = 255 * choice.noise * random.standard_normal(patch.shape)
    changed: Picture = np.clip(factor * patch + noise, 0, 255).astype(np.uint8)
    return changed
