"""Pictures as the networks of this family see them, and the places that they describe."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Pixels between two descriptors of trained teachers.
EVERY = 4


class Grid(NamedTuple):
    """The places of descriptors: the one at (i, j) belongs to the patch around (i · every + at, j · every + at)."""

    every: int  #: pixels between two of them
    at: int = 0  #: pixels before the first one


def normalised(pictures: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) RGB → float32 (N, 3, H, W), −1 to 1."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
