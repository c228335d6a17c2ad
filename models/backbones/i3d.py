"""I3D: Inception-v1 inflated to three dimensions (Carreira & Zisserman, CVPR 2017), with TensorFlow's padding.

The padding is part of the weights: they were trained under TensorFlow's SAME, which puts the odd element behind, so a
network that pads symmetrically computes other features. It depends on the input's size. Tracing (OpenVINO, ONNX,
TorchScript) freezes it, so a traced copy is right **only** for the (T, H, W) that it was traced with: export with fixed
sizes.

BatchNorm always uses the statistics of Kinetics, in training too: both recipes of MIST freeze it, and batches of a few
clips have no statistics worth the name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones import weights
from models.backbones.base import MapBackbone, Maps
from models.backbones.layers import WIDTHS

FEATURES = 1024  #: width of the feature vector
MIXED_4F_CHANNELS = 832  #: width of the map that self-guided attention reads
MIXED_5B_CHANNELS = 832

#: Kinetics' clips were scaled to [-1, 1]: x / 127.5 - 1.
_HALF_RANGE = 127.5

_EPSILON = 1e-3  #: added to the variance in BatchNorm (Sonnet's default)

Size3 = tuple[int, int, int]


class I3DOutput(NamedTuple):
    """Output of the network for N clips."""

    features: Tensor  #: float32 (N, 1024), not normalised, not negative
    logits: Tensor  #: float32 (N, classes)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME along one dimension: (before, after), the odd element behind."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def normalise_clips(clips: Tensor) -> Tensor:
    """uint8 (N, T, H, W, 3) RGB → float32 (N, 3, T, H, W) in [-1, 1], as the backbone was trained."""
    return clips.permute(0, 4, 1, 2, 3).to(torch.float32) / _HALF_RANGE - 1.0


def _sizes(x: Tensor) -> Size3:
    # int(): under tracing a size is a tensor, and padding needs numbers. It is frozen then, see above.
    return int(x.shape[-3]), int(x.shape[-2]), int(x.shape[-1])


def max_pool_same(x: Tensor, kernel: Size3, stride: Size3) -> Tensor:
    """Max-pooling under SAME without a padding operation of its own, which inference engines would not fuse.

    Where the missing elements all lie behind, ``ceil_mode`` supplies them; where they are symmetric, ``padding`` does.
    """
    pairs = [same_padding(n, k, s) for n, k, s in zip(_sizes(x), kernel, stride, strict=True)]
    before = [pair[0] for pair in pairs]
    if any(pair[1] - pair[0] not in (0, 1) or (pair[0] and pair[1] > pair[0]) for pair in pairs):
        raise AssertionError(f"no pooling of I3D needs padding {pairs}")
    return F.max_pool3d(x, kernel, stride, padding=before, ceil_mode=True)


def convolve_same(x: Tensor, weight: Tensor, stride: int, bias: Tensor | None = None) -> Tensor:
    """Convolve x, (N, C, T, H, W), with weight, (C', C, kt, kh, kw), under SAME."""
    pairs = [same_padding(n, k, stride) for n, k in zip(_sizes(x), _sizes(weight), strict=True)]
    if all(before == after for before, after in pairs):
        return F.conv3d(x, weight, bias, stride, [before for before, _ in pairs])
    return F.conv3d(F.pad(x, [n for pair in reversed(pairs) for n in pair]), weight, bias, stride)


class FrozenBatchNorm(nn.Module):
    """BatchNorm with stored statistics, a bias and no scale (Sonnet's default)."""

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.var, None, self.bias, training=False, eps=_EPSILON)


class Unit3D(nn.Module):
    """Convolution under SAME – BatchNorm – ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = FrozenBatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(convolve_same(x, self.conv.weight, self.stride)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the convolution that equals this one with its BatchNorm."""
        scale = torch.rsqrt(self.bn.var + _EPSILON)
        return self.conv.weight * scale[:, None, None, None, None], self.bn.bias - self.bn.mean * scale


class Mixed(nn.Module):
    """An Inception block: four branches side by side, joined along the channels."""

    def __init__(self, inputs: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int) -> None:
        super().__init__()
        # The names are those of the published checkpoints, so that a tensor can be found by its name.
        self.Branch_0 = nn.ModuleDict({"Conv3d_0a_1x1": Unit3D(inputs, b0, 1)})
        self.Branch_1 = nn.ModuleDict(
            {"Conv3d_0a_1x1": Unit3D(inputs, b1[0], 1), "Conv3d_0b_3x3": Unit3D(b1[0], b1[1], 3)}
        )
        self.Branch_2 = nn.ModuleDict(
            {"Conv3d_0a_1x1": Unit3D(inputs, b2[0], 1), "Conv3d_0b_3x3": Unit3D(b2[0], b2[1], 3)}
        )
        self.Branch_3 = nn.ModuleDict({"Conv3d_0b_1x1": Unit3D(inputs, b3, 1)})
        self.outputs = b0 + b1[1] + b2[1] + b3

    def forward(self, x: Tensor, convolve: Callable[[Unit3D, Tensor], Tensor] = Unit3D.__call__) -> Tensor:
        """(N, C, T, h, w) → (N, outputs, T, h, w); ``convolve`` computes the units that look across time."""
        return torch.cat(
            [
                self.Branch_0["Conv3d_0a_1x1"](x),
                convolve(cast(Unit3D, self.Branch_1["Conv3d_0b_3x3"]), self.Branch_1["Conv3d_0a_1x1"](x)),
                convolve(cast(Unit3D, self.Branch_2["Conv3d_0b_3x3"]), self.Branch_2["Conv3d_0a_1x1"](x)),
                self.Branch_3["Conv3d_0b_1x1"](max_pool_same(x, (3, 3, 3), (1, 1, 1))),
            ],
            dim=1,
        )


class I3D(MapBackbone):
    """RGB I3D.

    The early of its maps is Mixed_4f, the late one Mixed_5c unless others are chosen.

    Args:
        classes: number of classes; 400 for Kinetics-400, 0 for a network without a classifier.
        late: layers that make up the late map, side by side along the channels.
    """

    early_channels = MIXED_4F_CHANNELS

    def __init__(self, classes: int = 400, late: Sequence[str] = ("mixed_5c",)) -> None:
        super().__init__()
        self.classes = classes
        self.late = tuple(late)
        self.late_channels = sum(WIDTHS[layer] for layer in self.late)
        self.Conv3d_1a_7x7 = Unit3D(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = Unit3D(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, 3)
        self.Mixed_3b = Mixed(192, 64, (96, 128), (16, 32), 32)
        self.Mixed_3c = Mixed(256, 128, (128, 192), (32, 96), 64)
        self.Mixed_4b = Mixed(480, 192, (96, 208), (16, 48), 64)
        self.Mixed_4c = Mixed(512, 160, (112, 224), (24, 64), 64)
        self.Mixed_4d = Mixed(512, 128, (128, 256), (24, 64), 64)
        self.Mixed_4e = Mixed(512, 112, (144, 288), (32, 64), 64)
        self.Mixed_4f = Mixed(528, 256, (160, 320), (32, 128), 128)
        self.Mixed_5b = Mixed(MIXED_4F_CHANNELS, 256, (160, 320), (32, 128), 128)
        self.Mixed_5c = Mixed(MIXED_5B_CHANNELS, 384, (192, 384), (48, 128), 128)
        if classes:
            self.Logits = nn.ModuleDict({"Conv3d_0c_1x1": nn.ModuleDict({"conv": nn.Conv3d(FEATURES, classes, 1)})})

    def mixed_4f(self, x: Tensor) -> Tensor:
        """float (N, 3, T, H, W) in [-1, 1] → (N, 832, T/4, H/16, W/16), rounded up."""
        x = max_pool_same(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        x = max_pool_same(x, (1, 3, 3), (1, 2, 2))
        return self.stage_4(self.Mixed_3c(self.Mixed_3b(x)))

    def stage_4(self, mixed_3c: Tensor) -> Tensor:
        """(N, 480, t, h, w) → Mixed_4f (N, 832, t/2, h/2, w/2), rounded up."""
        x = max_pool_same(mixed_3c, (3, 3, 3), (2, 2, 2))
        x = self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(x)))
        y: Tensor = self.Mixed_4f(self.Mixed_4e(x))
        return y

    def mixed_5b(self, mixed_4f: Tensor) -> Tensor:
        """(N, 832, t, h, w) → (N, 832, t/2, h/2, w/2), rounded up."""
        y: Tensor = self.Mixed_5b(max_pool_same(mixed_4f, (2, 2, 2), (2, 2, 2)))
        return y

    def mixed_5c(self, mixed_5b: Tensor) -> Tensor:
        """(N, 832, t, h, w) → (N, 1024, t, h, w)."""
        y: Tensor = self.Mixed_5c(mixed_5b)
        return y

    def maps(self, clips: Tensor) -> Maps:
        """uint8 (N, T, H, W, 3) RGB → Mixed_4f and the late map."""
        early = self.mixed_4f(normalise_clips(clips))
        return Maps(early, self.late_map(early))

    def late_map(self, mixed_4f: Tensor) -> Tensor:
        """(N, 832, t, h, w) → (N, late channels, t/2, h/2, w/2), rounded up."""
        mixed_5b = self.mixed_5b(mixed_4f)
        found = {layer: mixed_5b if layer == "mixed_5b" else self.mixed_5c(mixed_5b) for layer in self.late}
        return torch.cat([found[layer] for layer in self.late], dim=1)

    def pool(self, mixed_5c: Tensor) -> Tensor:
        """(N, 1024, t, h, w) → (N, 1024): the original head's mean.

        Windows of two time steps, one apart, are averaged, then their means: the first and the last step weigh half
        where there are more than two. In space it is the plain mean (7 × 7 at 224 × 224).
        """
        t, h, w = _sizes(mixed_5c)
        return F.avg_pool3d(mixed_5c, (min(2, t), h, w), stride=1).mean(dim=(2, 3, 4))

    def pooled(self, mixed_4f: Tensor, layers: Sequence[str]) -> Tensor:
        """(N, 832, t, h, w) → features (N, D): the pooled maps of ``layers``, in this order.

        Mixed_4f and Mixed_5b are pooled by the plain mean over time and space, Mixed_5c as the original head does it.
        Blocks behind the last of the layers are not computed.
        """
        found = {}
        if "mixed_4f" in layers:
            found["mixed_4f"] = mixed_4f.mean(dim=(2, 3, 4))
        if not {"mixed_5b", "mixed_5c"}.isdisjoint(layers):
            mixed_5b = self.mixed_5b(mixed_4f)
            if "mixed_5b" in layers:
                found["mixed_5b"] = mixed_5b.mean(dim=(2, 3, 4))
            if "mixed_5c" in layers:
                found["mixed_5c"] = self.pool(self.mixed_5c(mixed_5b))
        return torch.cat([found[layer] for layer in layers], dim=1)

    def forward(self, x: Tensor) -> I3DOutput:
        """float (N, 3, T, H, W) in [-1, 1] → features (N, 1024) and logits (N, classes)."""
        features = self.pool(self.mixed_5c(self.mixed_5b(self.mixed_4f(x))))
        if not self.classes:
            return I3DOutput(features, features.new_zeros(len(features), 0))
        head = self.Logits["Conv3d_0c_1x1"]["conv"]  # type: ignore[index]
        # A 1×1×1 convolution is linear, so the mean of its outputs is its output of the mean.
        return I3DOutput(features, head(features[:, :, None, None, None]).flatten(1))


class ClipEncoder(nn.Module):
    """I3D with the clip's normalisation inside, as it is served and as features are computed.

    Args:
        layers: layers whose pooled maps make up the features, in this order: ``mixed_5c`` alone is the original head's;
            ``mixed_4f``, twice as fine in space and time, keeps more of small things in the picture; ``mixed_5b`` has
            the size of ``mixed_5c`` and is a block earlier. See :meth:`I3D.pooled`.
    """

    def __init__(self, backbone: I3D, layers: Sequence[str] = ("mixed_5c",)) -> None:
        super().__init__()
        self.backbone = backbone
        self.layers = tuple(layers)

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, H, W, 3) RGB → features, float32 (N, D), D the sum of the layers' widths."""
        return self.backbone.pooled(self.backbone.mixed_4f(normalise_clips(clips)), self.layers)


class MapEncoder(nn.Module):
    """I3D up to its last block, with the clip's normalisation inside: the maps of all layers."""

    def __init__(self, backbone: I3D) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, T, H, W, 3) RGB → float32 Mixed_4f, Mixed_5b and Mixed_5c.

        Mixed_4f is (N, 832, T/4, H/16, W/16), Mixed_5b (N, 832, T/8, H/32, W/32), Mixed_5c (N, 1024, T/8, H/32, W/32),
        all divisions rounded up.
        """
        mixed_4f = self.backbone.mixed_4f(normalise_clips(clips))
        mixed_5b = self.backbone.mixed_5b(mixed_4f)
        return mixed_4f, mixed_5b, self.backbone.mixed_5c(mixed_5b)


def load_i3d(name: str = "i3d-kinetics400", *, classifier: bool = True, late: Sequence[str] = ("mixed_5c",)) -> I3D:
    """The network with fetched weights, in evaluation mode, on the CPU.

    Args:
        classifier: whether Kinetics' classes are wanted, too.
        late: see :class:`I3D`.

    Raises:
        models.backbones.weights.WeightsError: the weights are not in the cache, or are not what they should be.
    """
    tensors = {
        key: torch.from_numpy(array)
        for key, array in weights.load(name).items()
        if classifier or not key.startswith("Logits.")
    }
    model = I3D(classes=len(tensors.get("Logits.Conv3d_0c_1x1.conv.weight", ())), late=late)
    model.load_state_dict(tensors)
    return model.eval()
