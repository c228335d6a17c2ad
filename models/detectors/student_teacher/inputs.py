"""Pictures as the networks of this family see them."""

from __future__ import annotations

import torch
from torch import Tensor

#: Pixels between two descriptors, of slim networks.
EVERY = 4


def normalised(pictures: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) RGB → float32 (N, 3, H, W), −1 to 1."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
