"""The networks of MIST in two parts: I3D up to its last block, which detectors can share, and each one's own head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.backbones.i3d import I3D, ClipEncoder, MapEncoder
from models.backbones.layers import WIDTHS
from models.detectors.mist.encoder import AttentionEncoder
from models.detectors.network import Divided

Judge = Callable[..., tuple[Tensor, ...]]  #: of a served network: what its encoder gives, and the scene → its outputs

MAPS = {layer: layer.upper() for layer in WIDTHS}  #: names of the outputs that are maps, (N, C, t, h, w), by layers
POOLED = {layer: f"{layer}_pooled".upper() for layer in WIDTHS}  #: names of those that are pooled, (N, C)


class SharedI3D(nn.Module):
    """I3D for all detectors on it: the maps of every layer, and the same pooled as :meth:`I3D.pooled` does.

    A generator reads 7 KB of pooled features; self-guided heads read 3 MB of maps. A detector gets what it asks for.
    """

    def __init__(self, backbone: I3D) -> None:
        super().__init__()
        self.encoder = MapEncoder(backbone)

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, T, H, W, 3) RGB → the values of :data:`MAPS` and those of :data:`POOLED`, float32."""
        mixed_4f, mixed_5b, mixed_5c = self.encoder(clips)
        pooled = (mixed_4f.mean(dim=(2, 3, 4)), mixed_5b.mean(dim=(2, 3, 4)), self.encoder.backbone.pool(mixed_5c))
        return mixed_4f, mixed_5b, mixed_5c, *pooled


class _Head(nn.Module):
    """A judge behind ``reads`` layers, the last ``joined`` of which go to it as one, along the channels."""

    def __init__(self, network: nn.Module, judge: Judge, reads: int, joined: int) -> None:
        super().__init__()
        self.network = network  # for its weights
        self.judge, self.reads, self.joined = judge, reads, joined

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The layers, and then the results of the scene → the outputs of the network."""
        layers, of_scene = values[: self.reads], values[self.reads :]
        apart = self.reads - self.joined
        return self.judge(*layers[:apart], torch.cat(layers[apart:], dim=1), *of_scene)


def on_features(network: nn.Module, encoder: ClipEncoder, judge: Judge) -> Divided:
    """Divide a network whose judge reads the features of ``encoder``."""
    reads = tuple(POOLED[layer] for layer in encoder.layers)
    return _divided(network, encoder.backbone, judge, reads, joined=len(reads))


def on_maps(network: nn.Module, encoder: AttentionEncoder, judge: Judge) -> Divided | None:
    """Divide a network whose judge reads the early and the late map; None where the backbone is not I3D."""
    if not isinstance(encoder.backbone, I3D):
        return None
    late = tuple(MAPS[layer] for layer in encoder.backbone.late)
    return _divided(network, encoder.backbone, judge, (MAPS["mixed_4f"], *late), joined=len(late))


def _divided(network: nn.Module, backbone: I3D, judge: Judge, reads: tuple[str, ...], *, joined: int) -> Divided:
    # The classifier, which some have and no detector reads, makes no difference.
    weights = {name: tensor for name, tensor in backbone.state_dict().items() if not name.startswith("Logits.")}
    layers = (*MAPS.values(), *POOLED.values())
    head = _Head(network, judge, len(reads), joined).eval()
    return Divided(SharedI3D(backbone).eval(), layers, head, reads, weights)
