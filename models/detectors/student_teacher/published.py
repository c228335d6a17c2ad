"""The vectors of a published network for patches of a picture, which teachers learn to give."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.efficientnet_lite0 import PictureMaps, load_efficientnet_lite0
from models.backbones.efficientnet_stages import STAGES, StageName

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
