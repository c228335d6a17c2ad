"""Scaling of vectors to length 1, which keeps their direction alone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

#: Vectors shorter than this are divided by it instead of by their length. I3D's pooled features are longer. Their
#: differences from the standing scene are 0.8 to 8 long where something moves, 0.16 for noise of one level of 255 in a
#: still picture, and 1e-5, which is rounding alone, where all frames are equal: scaled to length 1 that would be a
#: random score that differs between engines. (Lengths measured once, by hand.)
LEAST_LENGTH = 0.1


def unit_length(vectors: Tensor, dim: int = -1) -> Tensor:
    """Return the vectors along ``dim`` scaled to length 1, or to less where they are shorter than the least length."""
    return F.normalize(vectors, dim=dim, eps=LEAST_LENGTH)
