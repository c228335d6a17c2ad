"""I3D's maps of a standing picture: exactly those of a clip of equal frames, at a fraction of the clip's cost.

In such a clip most time steps hold the same map. After the first convolution only those near an end differ, because
their windows reach into the padding. So a *stretch* of time is kept as its distinct maps and their order. The output of
a window over time depends only on the maps under its taps. Equal windows are computed once. Taps over the same map are
summed first, so that a convolution in space remains.

Each convolution over time makes one more step distinct at either end. When no step repeats another, behind Mixed_3b for
16 frames, clips go on as in the ordinary network. In Mixed_3c the convolutions of such a clip save a third of their
products by minimal filtering.

Taps are summed in the forward pass rather than kept, because the weights of the backbone may be loaded later. In
OpenVINO's form the sums are constants.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.i3d import I3D, Mixed, Unit3D, convolve_same, max_pool_same, normalise_clips, same_padding

Window = tuple[int | None, ...]  #: ordinal of the map under each tap; None in the padding


class Stretch(NamedTuple):
    """A stretch of time of which several steps hold the same map."""

    maps: list[Tensor]  #: the distinct maps, (N, C, 1, h, w) each
    steps: tuple[int, ...]  #: ordinal of the map at each step

    @property
    def repeats(self) -> bool:
        return len(self.maps) < len(self.steps)

    def each(self, network: Callable[[Tensor], Tensor]) -> Stretch:
        """Apply a network that does not look across time."""
        return Stretch([network(x) for x in self.maps], self.steps)

    def over_time(self, compute: Callable[[Window], Tensor], kernel: int, stride: int = 1) -> Stretch:
        """Compute every distinct window of ``kernel`` steps once, under SAME."""
        found, steps = distinct(windows(self.steps, kernel, stride))
        return Stretch([compute(window) for window in found], steps)

    def clip(self) -> Tensor:
        """Return the map of the whole stretch: (N, C, T, h, w)."""
        return torch.cat([self.maps[ordinal] for ordinal in self.steps], dim=2)


def windows(steps: Sequence[int], kernel: int, stride: int) -> list[Window]:
    """Return the window at each output step under SAME."""
    before, after = same_padding(len(steps), kernel, stride)
    padded = (*[None] * before, *steps, *[None] * after)
    return [padded[first : first + kernel] for first in range(0, len(padded) - kernel + 1, stride)]


def distinct(items: Sequence[tuple[int | None, ...]]) -> tuple[list[tuple[int | None, ...]], tuple[int, ...]]:
    """Return the distinct items in their order, and the ordinal of each item among them."""
    ordinals = {item: ordinal for ordinal, item in enumerate(dict.fromkeys(items))}
    return list(ordinals), tuple(ordinals[item] for item in items)


def taps_by_map(window: Window) -> dict[int, list[int]]:
    """Return the taps over each map of a window."""
    found: dict[int, list[int]] = {}
    for tap, ordinal in enumerate(window):
        if ordinal is not None:
            found.setdefault(ordinal, []).append(tap)
    return found


def convolve(unit: Unit3D, stretch: Stretch) -> Stretch:
    """Convolve a stretch over time and space, as the unit does its clip."""
    weight, bias = unit.folded()
    uses: dict[int, set[tuple[int, ...]]] = {}
    for window in windows(stretch.steps, unit.kernel, unit.stride):
        for ordinal, taps in taps_by_map(window).items():
            uses.setdefault(ordinal, set()).add(tuple(taps))
    # A map under more sums of taps than there are taps is cheaper convolved with each tap by itself.
    by_tap = {
        ordinal: convolve_same(stretch.maps[ordinal], _stacked(weight), unit.stride).chunk(unit.kernel, dim=1)
        for ordinal, sums in uses.items()
        if len(sums) > unit.kernel
    }

    def compute(window: Window) -> Tensor:
        under = taps_by_map(window)
        parts = [by_tap[ordinal][tap] for ordinal, taps in under.items() if ordinal in by_tap for tap in taps]
        summed = [ordinal for ordinal in under if ordinal not in by_tap]
        if summed:
            x = torch.cat([stretch.maps[ordinal] for ordinal in summed], dim=1)
            sums = [weight[:, :, under[ordinal]].sum(dim=2, keepdim=True) for ordinal in summed]
            parts.append(convolve_same(x, torch.cat(sums, dim=1), unit.stride, bias))
        else:
            parts.append(bias[:, None, None, None])
        return F.relu(functools.reduce(torch.add, parts))

    return stretch.over_time(compute, unit.kernel, unit.stride)


def _stacked(weight: Tensor) -> Tensor:
    """(C', C, k, h, w) → (k · C', C, 1, h, w): a convolution with each tap by itself."""
    return torch.cat(weight.chunk(weight.shape[2], dim=2), dim=0)


def filter_pairs(unit: Unit3D, x: Tensor) -> Tensor:
    """Compute a unit of three taps over a clip, (N, C, T, h, w), with a third fewer products.

    Minimal filtering F(2, 3) over time: two neighbouring outputs need four products instead of six (Winograd 1980;
    Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016).
    """
    weight, bias = unit.folded()
    first, middle, last = weight.chunk(3, dim=2)
    steps = int(x.shape[2])
    pairs = -(-steps // 2)
    x = F.pad(x, (0, 0, 0, 0, 1, 2 * pairs + 1 - steps))
    a, b, c, d = (x[:, :, tap : tap + 2 * pairs - 1 : 2] for tap in range(4))
    even = convolve_same(b + c, (first + middle + last) / 2, 1, bias)
    odd = convolve_same(c - b, (first - middle + last) / 2, 1)
    one = convolve_same(a - c, first, 1) + (even + odd)
    other = convolve_same(d - b, last, 1) + (even - odd)
    return F.relu(torch.stack([one, other], dim=3).flatten(2, 3)[:, :, :steps])


def _pool_time(stretch: Stretch) -> Stretch:
    """Take the maximum over three steps; padding does not count."""

    def compute(window: Window) -> Tensor:
        return functools.reduce(torch.maximum, [stretch.maps[ordinal] for ordinal in taps_by_map(window)])

    return stretch.over_time(compute, 3)


def mix(block: Mixed, stretch: Stretch) -> Stretch:
    """Apply an Inception block to a stretch, as to its clip."""

    def unit(branch: nn.ModuleDict, name: str) -> Unit3D:
        return cast(Unit3D, branch[name])

    pooled = _pool_time(stretch.each(lambda x: max_pool_same(x, (1, 3, 3), (1, 1, 1))))
    branches = [
        stretch.each(unit(block.Branch_0, "Conv3d_0a_1x1")),
        *(
            convolve(unit(branch, "Conv3d_0b_3x3"), stretch.each(unit(branch, "Conv3d_0a_1x1")))
            for branch in (block.Branch_1, block.Branch_2)
        ),
        pooled.each(unit(block.Branch_3, "Conv3d_0b_1x1")),
    ]
    joined, steps = distinct(list(zip(*(branch.steps for branch in branches), strict=True)))
    maps = [
        torch.cat([branch.maps[cast(int, one)] for branch, one in zip(branches, ordinals, strict=True)], dim=1)
        for ordinals in joined
    ]
    return Stretch(maps, steps)


def still_mixed_4f(backbone: I3D, pictures: Tensor, frames: int) -> Tensor:
    """uint8 (N, H, W, 3) RGB → Mixed_4f of clips of T = ``frames`` equal frames: (N, 832, T/4, H/16, W/16), rounded up.

    The later layers are :meth:`I3D.mixed_5b` of it and so on. A network that reads clips too calls this with the
    backbone of its :class:`ClipEncoder`, so that its weights are stored once.

    Raises:
        ValueError: there are no frames.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    stretch = Stretch([normalise_clips(pictures[:, None])], (0,) * frames)
    stretch = convolve(backbone.Conv3d_1a_7x7, stretch).each(_halve)
    stretch = convolve(backbone.Conv3d_2c_3x3, stretch.each(backbone.Conv3d_2b_1x1)).each(_halve)
    blocks = [backbone.Mixed_3b, backbone.Mixed_3c]
    while blocks and stretch.repeats:
        stretch = mix(blocks.pop(0), stretch)
    x = stretch.clip()
    for block in blocks:
        x = block(x, filter_pairs)
    return backbone.stage_4(x)


def _halve(x: Tensor) -> Tensor:
    return max_pool_same(x, (1, 3, 3), (1, 2, 2))


class StillI3D(nn.Module):
    """I3D over a clip of equal frames, from the picture alone: the maps of all layers.

    Args:
        backbone: its weights are used as they are, and may be loaded later.
        frames: number of frames of the clip.
    """

    def __init__(self, backbone: I3D, frames: int = 16) -> None:
        super().__init__()
        self.backbone = backbone
        self.frames = frames

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, H, W, 3) RGB → Mixed_4f, Mixed_5b and Mixed_5c; see :class:`models.backbones.i3d.MapEncoder`."""
        mixed_4f = still_mixed_4f(self.backbone, pictures, self.frames)
        mixed_5b = self.backbone.mixed_5b(mixed_4f)
        return mixed_4f, mixed_5b, self.backbone.mixed_5c(mixed_5b)


class StillEncoder(nn.Module):
    """Pooled features of a clip of equal frames: those of :class:`models.backbones.i3d.ClipEncoder`.

    Blocks behind the last of the layers are not computed.

    Args:
        backbone: its weights are used as they are, and may be loaded later.
        layers: layers whose pooled maps make up the features, in this order.
        frames: number of frames of the clip.
    """

    def __init__(self, backbone: I3D, layers: Sequence[str] = ("mixed_5c",), frames: int = 16) -> None:
        super().__init__()
        self.backbone = backbone
        self.layers = tuple(layers)
        self.frames = frames

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB → features, float32 (N, D), D the sum of the layers' widths."""
        return self.backbone.pooled(still_mixed_4f(self.backbone, pictures, self.frames), self.layers)
