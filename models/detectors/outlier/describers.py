"""Backbones that describe clips for an estimator, one entry each in :data:`DESCRIBERS`.

A further backbone is a function that returns its network, an entry here, and its name in
:data:`models.detectors.outlier.card.BackboneName`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from torch import Tensor, nn

from models.backbones import vgg16
from models.backbones.efficientnet_lite0 import load_efficientnet_lite0
from models.backbones.efficientnet_stages import StageName
from models.backbones.i3d import FEATURES as I3D_FEATURES
from models.backbones.i3d import ClipEncoder, load_i3d
from models.backbones.patch_descriptors import PatchDescriptors, cell_side, channels
from models.backbones.weights import published
from models.detectors.outlier.card import Features
from models.detectors.outlier.program import DESCRIPTORS
from models.detectors.program import ProgramNetwork
from pipeline.windows import ClipSpec

EFFICIENTNET: Final = "efficientnet-lite0"
I3D: Final = "i3d-kinetics400"
VGG16: Final = vgg16.NAME


class Settings(Protocol):
    """The settings of descriptors, in a recipe or in a model card."""

    @property
    def layers(self) -> tuple[StageName, ...]: ...
    @property
    def enlarge(self) -> int: ...
    @property
    def grid(self) -> StageName | None: ...


@dataclass(frozen=True, slots=True)
class Describer:
    """A backbone with published weights.

    Attributes:
        features: the kinds that it gives. Its output for clips is (N, C, h, w) where places are among them; those are
            averaged for pooled features. Else it is (N, C).
        frames, stride: of its clips: frames of one, and frames from one to the next.
        cell: returns the side of a cell of its map, pixels, a divisor of the pictures' sides.
        values: returns C.
        network: returns the network for clips, with its weights; it takes their last picture, ``PICTURE``, or all of
            them, ``CLIP``. Raises WeightsError: the weights are not in the cache.
    """

    features: tuple[Features, ...]
    frames: int
    stride: int
    cell: Callable[[Settings], int]
    values: Callable[[Settings], int]
    network: Callable[[Settings, ClipSpec], ProgramNetwork]


def _of_patches(settings: Settings, clip: ClipSpec) -> ProgramNetwork:
    """Return EfficientNet-Lite0's descriptors of patches."""
    layers, enlarge, grid = settings.layers, settings.enlarge, settings.grid
    network = PatchDescriptors(load_efficientnet_lite0(layers[-1]), layers, enlarge, grid).eval()
    common = f"{EFFICIENTNET} {_identity(EFFICIENTNET)}, {'+'.join(layers)}, enlarged {enlarge} times"
    if grid is not None:
        common += f", on the grid of {grid}"
    inputs = {"PICTURE": ((clip.height, clip.width, 3), "uint8")}
    return ProgramNetwork(network, inputs, (DESCRIPTORS,), common, weights=EFFICIENTNET)


#: Layers of VGG-16 up to its tenth convolution (conv4_3) and ReLU, and pixels of the picture's side for one of the map.
_VGG16_LAYERS, _VGG16_CELL = 23, 8


class _MiddleMap(nn.Module):
    """The map in the middle of VGG-16, with the pictures' normalisation inside."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """uint8 (N, H, W, 3) RGB → float32 (N, 512, H / 8, W / 8)."""
        return (self.layers(vgg16.normalise_pictures(pictures)),)


def _of_vgg16(_settings: Settings, clip: ClipSpec) -> ProgramNetwork:
    """Return a map of VGG-16: those of its end encode classes rather than appearance."""
    network = _MiddleMap(vgg16.load_convolutions()[:_VGG16_LAYERS]).eval()
    inputs = {"PICTURE": ((clip.height, clip.width, 3), "uint8")}
    return ProgramNetwork(network, inputs, (DESCRIPTORS,), f"{VGG16} {_identity(VGG16)}, conv4_3", weights=VGG16)


class _PooledClips(nn.Module):
    """I3D's pooled features, with the clips' normalisation inside."""

    def __init__(self, encoder: ClipEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> tuple[Tensor]:
        """uint8 (N, T, H, W, 3) RGB → float32 (N, 1024)."""
        return (self.encoder(clips),)


def _of_clips(_settings: Settings, clip: ClipSpec) -> ProgramNetwork:
    """Return I3D's pooled features."""
    network = _PooledClips(ClipEncoder(load_i3d(I3D, classifier=False))).eval()
    inputs = {"CLIP": ((clip.frames, clip.height, clip.width, 3), "uint8")}
    return ProgramNetwork(network, inputs, (DESCRIPTORS,), f"{I3D} {_identity(I3D)}, mixed_5c", weights=I3D)


def _identity(weights: str) -> str:
    return published(weights).tensors_sha256[:16]


DESCRIBERS: dict[str, Describer] = {
    EFFICIENTNET: Describer(
        features=("places", "pooled"),
        frames=1,
        stride=1,
        cell=lambda of: cell_side(of.layers, of.enlarge, of.grid),
        values=lambda of: channels(of.layers),
        network=_of_patches,
    ),
    VGG16: Describer(
        features=("places", "pooled"),
        frames=1,
        stride=1,
        cell=lambda _: _VGG16_CELL,
        values=lambda _: vgg16.CHANNELS,
        network=_of_vgg16,
    ),
    # 16 frames, as it was trained. Half of them are new in the next clip: one costs a second of a core.
    I3D: Describer(
        features=("pooled",),
        frames=16,
        stride=8,
        cell=lambda _: 16,
        values=lambda _: I3D_FEATURES,
        network=_of_clips,
    ),
}
