"""C3D (Tran, Bourdev, Fergus, Torresani & Paluri, "Learning spatiotemporal features with 3D convolutional networks",
ICCV 2015), the other backbone of MIST.

No trained weights of it are available, so it is an architecture here, and its features come from others. Every
convolution is 3 × 3 × 3, padded to keep its size. Every pooling halves, rounding up as in Caffe, for which the network
was written: hence 4 × 4 after the last one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.base import MapBackbone, Maps

CHANNELS = 512  #: width of conv4b's and of conv5b's map
FEATURES = 4096  #: width of fc6
SPORTS_1M_CLASSES = 487

#: Mean of Sports-1M by channel, blue first, as OpenCV reads pictures and as MIST's reference subtracts it.
_MEAN_BGR = (90.25, 97.66, 101.41)

#: Size of the map that fc6 reads: that of 16 frames of 112 × 112.
_POOLED = (CHANNELS, 1, 4, 4)


class C3DOutput(NamedTuple):
    """Output of the network for N clips."""

    features: Tensor  #: float32 (N, 4096), fc6 after its ReLU
    logits: Tensor  #: float32 (N, classes)


def normalise_clips(clips: Tensor) -> Tensor:
    """uint8 (N, T, H, W, 3) RGB → float32 (N, 3, T, H, W), BGR without the mean of Sports-1M."""
    bgr = clips.flip(-1).to(torch.float32)
    return (bgr - bgr.new_tensor(_MEAN_BGR)).permute(0, 4, 1, 2, 3)


def _conv(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, 3, padding=1)


def _halve(x: Tensor, *, time: bool = True) -> Tensor:
    size = (2 if time else 1, 2, 2)
    return F.max_pool3d(x, size, size, ceil_mode=True)


class C3D(MapBackbone):
    """C3D. The early of its maps is conv4b, the late one conv5b.

    Its dropout is left out, as the classifier is never trained here.

    Args:
        classes: number of classes, 487 for Sports-1M; 0 for the convolutions alone.
    """

    early_channels = CHANNELS
    late_channels = CHANNELS

    def __init__(self, classes: int = SPORTS_1M_CLASSES) -> None:
        super().__init__()
        self.classes = classes
        self.conv1a = _conv(3, 64)
        self.conv2a = _conv(64, 128)
        self.conv3a, self.conv3b = _conv(128, 256), _conv(256, 256)
        self.conv4a, self.conv4b = _conv(256, CHANNELS), _conv(CHANNELS, CHANNELS)
        self.conv5a, self.conv5b = _conv(CHANNELS, CHANNELS), _conv(CHANNELS, CHANNELS)
        if classes:
            self.fc6 = nn.Linear(8192, FEATURES)
            self.fc7 = nn.Linear(FEATURES, FEATURES)
            self.fc8 = nn.Linear(FEATURES, classes)

    def conv4(self, x: Tensor) -> Tensor:
        """float (N, 3, T, H, W), normalised → conv4b (N, 512, T/4, H/8, W/8), rounded up."""
        x = _halve(torch.relu(self.conv1a(x)), time=False)
        x = _halve(torch.relu(self.conv2a(x)))
        x = _halve(torch.relu(self.conv3b(torch.relu(self.conv3a(x)))))
        return torch.relu(self.conv4b(torch.relu(self.conv4a(x))))

    def conv5(self, conv4: Tensor) -> Tensor:
        """(N, 512, t, h, w) → conv5b (N, 512, t/2, h/2, w/2), rounded up."""
        return torch.relu(self.conv5b(torch.relu(self.conv5a(_halve(conv4)))))

    def maps(self, clips: Tensor) -> Maps:
        """uint8 (N, T, H, W, 3) RGB → conv4b and conv5b: 512 × 4 × 14 × 14 and 512 × 2 × 7 × 7 for 16 × 112 × 112."""
        early = self.conv4(normalise_clips(clips))
        return Maps(early, self.conv5(early))

    def forward(self, clips: Tensor) -> C3DOutput:
        """uint8 (N, 16, 112, 112, 3) RGB → features (N, 4096) and logits (N, classes).

        Raises:
            ValueError: clips of another size, or a network without its classifier.
        """
        if not self.classes:
            raise ValueError("this C3D has no classifier, so it has no features of fc6")
        pooled = _halve(self.maps(clips).late)
        if tuple(int(size) for size in pooled.shape[1:]) != _POOLED:
            raise ValueError(f"C3D's clips must be 16 frames of 112 × 112, got clips {tuple(clips.shape[1:])}")
        features = torch.relu(self.fc6(pooled.flatten(1)))
        return C3DOutput(features, self.fc8(torch.relu(self.fc7(features))))
