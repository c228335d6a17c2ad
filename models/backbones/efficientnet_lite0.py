"""EfficientNet-Lite0 (M. Tan, Q. V. Le, ICML 2019, its Lite variant), as a source of maps at several levels.

It is small: 25 ms a picture of 224 × 224 on one core (measured once, by hand). The weights are a port of TensorFlow's,
which were trained on ImageNet under TensorFlow's SAME padding: the odd element lies behind. The padding depends on the
input's size, and tracing freezes it: export with a fixed size.

BatchNorm always uses the stored statistics; nothing here is trained further.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones import weights
from models.backbones.efficientnet_stages import HEAD_CHANNELS, STAGES, STEM_CHANNELS, StageName
from models.backbones.i3d import same_padding

NAME = "efficientnet-lite0"  #: of the published weights

#: The pictures that it was trained on: (x − 127) / 128.
_MEAN, _RANGE = 127.0, 128.0
_EPSILON = 1e-3  #: added to the variance in BatchNorm


def normalise_pictures(pictures: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) RGB → float32 (N, 3, H, W), about −1 to 1, as the network was trained."""
    return (pictures.permute(0, 3, 1, 2).to(torch.float32) - _MEAN) / _RANGE


class SameConv2d(nn.Conv2d):
    """A convolution without bias, under TensorFlow's SAME."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H / stride, W / stride), rounded up."""
        # int(): under tracing a size is a tensor, and padding needs numbers. It is frozen then, see above.
        (top, bottom), (left, right) = (
            same_padding(int(size), kernel, stride)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        padded = F.pad(x, [left, right, top, bottom])
        return F.conv2d(padded, self.weight, None, self.stride, groups=self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


class Block(nn.Module):
    """An inverted residual: expand – depthwise – project, added to its input where both have one shape.

    The names of the layers are those of the published checkpoint.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        if expansion != 1:
            self.expand_conv: nn.Module | None = SameConv2d(inputs, hidden, 1)
            self.bn0: nn.Module | None = _norm(hidden)
        else:
            self.expand_conv = self.bn0 = None
        self.depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.bn1 = _norm(hidden)
        self.project_conv = SameConv2d(hidden, outputs, 1)
        self.bn2 = _norm(outputs)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand_conv is not None and self.bn0 is not None:
            y = F.relu6(self.bn0(self.expand_conv(y)))
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        projected: Tensor = self.bn2(self.project_conv(y))
        return x + projected if self._adds else projected


class EfficientNetLite0(nn.Module):
    """The network up to a stage.

    Args:
        upto: the last stage.
        classes: number of classes of its classifier; 0 without one. Only behind the last stage of all.
    """

    def __init__(self, upto: StageName = "stage_7", classes: int = 0) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, STEM_CHANNELS, 3, 2)
        self.bn0 = _norm(STEM_CHANNELS)
        self._ends: dict[StageName, int] = {}  # number of blocks up to the end of each stage
        blocks: list[nn.Module] = []
        inputs = STEM_CHANNELS
        for name, stage in STAGES.items():
            for ordinal in range(stage.blocks):
                stride = stage.stride if ordinal == 0 else 1
                blocks.append(Block(inputs, stage.channels, stage.kernel, stride, stage.expansion))
                inputs = stage.channels
            self._ends[name] = len(blocks)
            if name == upto:
                break
        self.blocks = nn.ModuleList(blocks)
        self.classes = classes
        if classes:
            self.conv_head = SameConv2d(inputs, HEAD_CHANNELS, 1)
            self.bn1 = _norm(HEAD_CHANNELS)
            self.fc = nn.Linear(HEAD_CHANNELS, classes)

    def maps(self, x: Tensor) -> dict[StageName, Tensor]:
        """Normalised pictures, float32 (N, 3, H, W) → the map of each stage, (N, C, h, w), from fine to coarse."""
        x = F.relu6(self.bn0(self.conv_stem(x)))
        found: dict[StageName, Tensor] = {}
        first = 0
        for name, end in self._ends.items():
            for block in self.blocks[first:end]:
                x = block(x)
            found[name], first = x, end
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures, float32 (N, 3, H, W) → the classes' logits, (N, classes)."""
        if not self.classes:
            raise ValueError("this network has no classifier; load it with classifier=True")
        *_, last = self.maps(x).values()
        pooled = F.relu6(self.bn1(self.conv_head(last))).mean((2, 3))
        logits: Tensor = self.fc(pooled)
        return logits


class PictureMaps(nn.Module):
    """EfficientNet-Lite0 with the pictures' normalisation inside: the maps of some stages, as it is served.

    Args:
        backbone: at least up to the last of ``stages``.
        stages: the stages whose maps are wanted, in this order.
    """

    def __init__(self, backbone: EfficientNetLite0, stages: Sequence[StageName]) -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = tuple(stages)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, H, W, 3) RGB → float32 (N, C, h, w) for each stage.

        h and w are the picture's over the stage's reduction, rounded up; see
        :func:`models.backbones.efficientnet_stages.reduction`.
        """
        found = self.backbone.maps(normalise_pictures(pictures))
        return tuple(found[stage] for stage in self.stages)


def load_efficientnet_lite0(upto: StageName = "stage_7", *, classifier: bool = False) -> EfficientNetLite0:
    """Return the network with fetched weights, in evaluation mode, on the CPU.

    Args:
        classifier: whether ImageNet's 1000 classes are wanted, too; behind ``stage_7`` alone.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    tensors = weights.load(NAME)
    network = EfficientNetLite0(upto, classes=len(tensors["fc.bias"]) if classifier else 0)
    known = network.state_dict().keys()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items() if name in known})
    return network.eval()
