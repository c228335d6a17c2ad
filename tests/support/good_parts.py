"""Stand-ins of MVTec AD's categories: gratings with noise that lie differently in each picture, some with a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 96  #: of a picture, pixels
DEFECT = 24  #: side of the square without the grating, pixels

Picture = npt.NDArray[np.uint8]


def good(random: np.random.Generator) -> Picture:
    """Return a picture, uint8 (SIDE, SIDE, 3)."""
    across = np.arange(SIDE)
    grating = 128 + 50 * np.sin(across / 2 + random.uniform(0, 2 * np.pi))
    shown = np.broadcast_to(grating, (SIDE, SIDE)) + random.normal(0, 6, (SIDE, SIDE))
    return np.repeat(shown.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def bad(random: np.random.Generator) -> tuple[Picture, Picture]:
    """Return a picture in which a square is turned by a right angle, and the square's mask, uint8 (SIDE, SIDE)."""
    picture = good(random)
    top, left = random.integers(0, SIDE - DEFECT, 2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + DEFECT, left : left + DEFECT] = 255
    return np.where(mask[..., None] > 0, good(random).transpose(1, 0, 2), picture), mask


def write_category(folder: Path, *, learned: int, tested: int, seed: int = 0) -> Path:
    """Write a category: pictures to learn from, and as many good as bad ones to test on."""
    random = np.random.default_rng(seed)
    for part in ("train/good", "test/good", "test/turned", "ground_truth/turned"):
        (folder / part).mkdir(parents=True)
    for number in range(learned):
        Image.fromarray(good(random)).save(folder / f"train/good/{number:03}.png")
    for number in range(tested):
        Image.fromarray(good(random)).save(folder / f"test/good/{number:03}.png")
        picture, mask = bad(random)
        Image.fromarray(picture).save(folder / f"test/turned/{number:03}.png")
        Image.fromarray(mask).save(folder / f"ground_truth/turned/{number:03}_mask.png")
    return folder
