"""Networks that read pictures for places: maps at 1/8 of the picture's size.

| name | |
|---|---|
| ``resnet50-dilated`` | the paper's: ResNet-50, the strides of its last two stages replaced by dilation |
| ``efficientnet-lite0`` | for CPUs: two maps of EfficientNet-Lite0 |

EfficientNet-Lite0 has 1/8 of the size behind ``stage_3`` and 1/16 behind ``stage_5``. The coarse map is scaled up and
stands beside the fine one. Dilated stages 4 and 5 would cost four times as much there, which is most of the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.efficientnet_lite0 import EfficientNetLite0, load_efficientnet_lite0, normalise_pictures
from models.backbones.efficientnet_stages import STAGES
from models.places.card import BackboneName

#: Pixels of the picture's side that become one of the map.
REDUCTION = 8

#: ImageNet's mean and deviation of values 0 to 1, with which torchvision's networks are trained.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PlacesBackbone(nn.Module, ABC):
    """A network that reads pictures.

    Attributes:
        channels: of its map.
    """

    channels: int

    @abstractmethod
    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → float32 (N, channels, H / 8, W / 8), rounded up."""


class ResNet50Dilated(PlacesBackbone):
    """ResNet-50 (K. He et al., CVPR 2016) by torchvision, with an output stride of 8 and without its classifier."""

    channels = 2048

    def __init__(self) -> None:
        from torchvision.models import resnet50

        super().__init__()
        network = resnet50(weights=None, replace_stride_with_dilation=(False, True, True))
        self.layers = nn.Sequential(*list(network.children())[:-2])  # without pool and classifier

    def forward(self, pictures: Tensor) -> Tensor:
        mean, deviation = pictures.new_tensor([_MEAN, _DEVIATION], dtype=torch.float32)[..., None, None]
        found: Tensor = self.layers((pictures.permute(0, 3, 1, 2) / 255 - mean) / deviation)
        return found


class EfficientNetLite0Maps(PlacesBackbone):
    """EfficientNet-Lite0 up to ``stage_5``: its map at 1/8 beside the one at 1/16, scaled up.

    BatchNorm uses the stored statistics, also in training. The stem and the stages at 1/2 and 1/4 are not trained:
    edges are the same in all pictures, and no gradient at these sizes makes a step cheaper.

    Args:
        network: its weights; at least up to ``stage_5``.
    """

    channels = STAGES["stage_3"].channels + STAGES["stage_5"].channels

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network
        frozen = STAGES["stage_1"].blocks + STAGES["stage_2"].blocks
        for part in (network.conv_stem, network.bn0, *network.blocks[:frozen]):
            part.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> EfficientNetLite0Maps:
        """Keep evaluation mode, which decides about BatchNorm alone."""
        super().train(False)
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.network.maps(normalise_pictures(pictures))
        fine, coarse = maps["stage_3"], maps["stage_5"]
        scaled = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, scaled], dim=1)


def new_backbone(name: BackboneName, *, pretrained: bool) -> PlacesBackbone:
    """Return a backbone.

    Args:
        pretrained: with fetched weights, where there are any; otherwise with random ones, to be replaced or trained.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    if name == "resnet50-dilated":
        return ResNet50Dilated()
    return EfficientNetLite0Maps(load_efficientnet_lite0("stage_5") if pretrained else EfficientNetLite0("stage_5"))
