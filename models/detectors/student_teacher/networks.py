"""Networks of teachers and students (P. Bergmann et al., Uninformed Students, CVPR 2020): from patches to descriptors.

A network of receptive field p is convolutions and max-pools without padding, which map a patch of p × p pixels to one
descriptor. A leaky ReLU of slope 5e-3 follows every convolution but the last one.

One pass over a picture gives the descriptors of all of its patches. A pool that halves the map of a patch would skip
every second patch, so over a picture it has a stride of 1, and all that follows it is dilated by 2 instead. The results
are the same numbers, and the weights are the same. Where descriptors are wanted every 2 or 4 pixels alone, as many
pools keep their stride of 2, and the work shrinks with the square of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Slope of the leaky ReLU below 0.
SLOPE = 5e-3


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution, stride 1, and the 2 × 2 pool after it.

    Attributes:
        kernel: side of the convolution, pixels of its input.
        channels: of its output, in the paper's full size.
        pool: whether the pool follows.
    """

    kernel: int
    channels: int
    pool: bool = False


#: The paper's architectures by their receptive field; the last layer gives the descriptor. The pools drop the last row
#: of a map with an odd side, so p = 33 and 65 look at the first 32 and 60 pixels of a side. The last layer of p = 65 is
#: 1 × 1 here: its input is one pixel.
LAYERS: dict[int, tuple[Layer, ...]] = {
    17: (Layer(6, 128), Layer(5, 256), Layer(5, 256), Layer(4, 128)),
    33: (Layer(5, 128, pool=True), Layer(5, 256, pool=True), Layer(2, 256), Layer(4, 128)),
    65: (Layer(5, 128, pool=True), Layer(5, 128, pool=True), Layer(5, 128, pool=True), Layer(4, 256), Layer(1, 128)),
}


class Descriptors(nn.Module):
    """A network from pictures to the descriptors of their patches.

    Args:
        patch: receptive field p: 17, 33 or 65 pixels.
        shrink: number by which the paper's channels are divided, but those of the descriptor.
        values: of a descriptor, d.

    Raises:
        ValueError: no architecture has that receptive field.
    """

    def __init__(self, patch: int, *, shrink: int = 1, values: int = 128) -> None:
        super().__init__()
        if patch not in LAYERS:
            raise ValueError(f"patch must be one of {', '.join(map(str, LAYERS))}, got {patch}")
        self.patch = patch
        self.values = values
        self._layers = LAYERS[patch]
        channels = [3, *(layer.channels // shrink for layer in self._layers[:-1]), values]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels[at], channels[at + 1], layer.kernel) for at, layer in enumerate(self._layers)
        )

    @property
    def _by_layer(self) -> list[tuple[Layer, nn.Conv2d]]:
        return list(zip(self._layers, cast("Sequence[nn.Conv2d]", self.convolutions), strict=True))

    def forget(self) -> None:
        """Draw all weights anew, as torch does for new layers."""
        for _, convolution in self._by_layer:
            convolution.reset_parameters()

    def of_patches(self, patches: Tensor) -> Tensor:
        """Return the descriptor of each patch, layer by layer as in the paper: float32 (N, 3, p, p) → (N, d)."""
        found = patches
        for layer, convolution in self._by_layer:
            found = self._activated(layer, convolution(found))
            if layer.pool:
                found = F.max_pool2d(found, 2)
        return found.flatten(1)

    def of_windows(self, pictures: Tensor, *, every: int = 1) -> Tensor:
        """Return the descriptors of the patches inside of pictures, in one pass.

        Args:
            pictures: float32 (N, 3, H, W), of p pixels a side at least.
            every: pixels between two patches, 1, 2, 4 or 8; at best 2 to the power of the number of pools.

        Returns:
            float32 (N, d, (H − p) // every + 1, (W − p) // every + 1). The one at (i, j) belongs to the patch whose
            first pixel is (i · every, j · every).
        """
        rows, columns = ((size - self.patch) // every + 1 for size in pictures.shape[2:])
        found = pictures
        # Pixels of the picture between two neighbours in the map of a patch, and between two in the map at hand.
        apart, step = 1, 1
        for at, (layer, convolution) in enumerate(self._by_layer):
            last = at == len(self._layers) - 1
            stride = every // step if last else 1
            found = F.conv2d(found, convolution.weight, convolution.bias, stride=stride, dilation=apart // step)
            found = self._activated(layer, found)
            if layer.pool:
                stride = 2 if step < every else 1
                found = _pooled(found, dilation=apart // step, stride=stride)
                apart, step = 2 * apart, stride * step
        return found[..., :rows, :columns]

    def forward(self, pictures: Tensor, *, every: int = 1, at: int = 0) -> Tensor:
        """Return the descriptors of the patches around pixels of pictures, whose borders are mirrored.

        Args:
            pictures: float32 (N, 3, H, W), of more than p / 2 + ``at`` pixels a side.
            at: below ``every``.

        Returns:
            float32 (N, d, ⌈H / every⌉, ⌈W / every⌉). The one at (i, j) belongs to the patch around the pixel
            (i · every + at, j · every + at).
        """
        before, behind = self.patch // 2 - at, self.patch // 2 + at
        return self.of_windows(F.pad(pictures, 2 * [before, behind], mode="reflect"), every=every)

    def _activated(self, layer: Layer, found: Tensor) -> Tensor:
        return found if layer is self._layers[-1] else F.leaky_relu(found, SLOPE)


def _pooled(found: Tensor, *, dilation: int, stride: int) -> Tensor:
    """Return the maximum of 2 × 2 pixels that are ``dilation`` apart.

    By shifted maps: OpenVINO computes a dilated pool slowly.
    """
    if dilation == 1:
        return F.max_pool2d(found, 2, stride)
    rows = torch.maximum(found[..., :-dilation, :], found[..., dilation:, :])
    return torch.maximum(rows[..., :-dilation], rows[..., dilation:])[..., ::stride, ::stride]
