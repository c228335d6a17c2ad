"""The autoencoder: from a clip to a short code of each place, back to the clip, and to the maps of the differences.

All layers are convolutions, so a picture has as many codes as places, and may have any size. P. Bergmann et al. (2019,
see :mod:`.ssim`) have one code for a picture of 128 × 128 pixels. Beyond them, the network sees and returns the
difference from the mean picture: a camera that stands still shows its background in all pictures, and the code is free
for what moves in front of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.detectors.autoencoder.card import Error
from models.detectors.autoencoder.ssim import ssim_map
from operators.motion import CELL

#: Slope of the leaky ReLU below 0, of Bergmann et al.
SLOPE = 0.2
#: Weights of red, green and blue in a grey picture (ITU-R BT.601).
GREY = (0.299, 0.587, 0.114)
#: Pixels between those whose similarity is computed, for its cost: windows that overlap say much the same.
EVERY = 2


class Autoencoder(nn.Module):
    """The network, for clips of T pictures whose colours are its channels.

    Args:
        frames: T.
        size: height and width of the pictures, multiples of 8.
        channels, code, error: see :class:`models.detectors.autoencoder.card.Architecture`.

    Attributes:
        centre: the mean picture, float32 (3, H, W), 0 to 255.
    """

    centre: Tensor
    _grey: Tensor

    def __init__(self, frames: int, size: tuple[int, int], *, channels: Sequence[int], code: int, error: Error) -> None:
        super().__init__()
        self.error = error
        self._frames = frames
        #: Pixels of the picture between two places of the code.
        self._reduction = 2 ** len(channels)
        ways = list(pairwise((3 * frames, *channels)))
        encoder, decoder = [], []
        for narrow, wide in ways:
            encoder += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for narrow, wide in reversed(ways):
            decoder += [nn.LeakyReLU(SLOPE), nn.ConvTranspose2d(wide, narrow, 4, 2, 1)]
        self._encoder = nn.Sequential(*encoder, nn.Conv2d(channels[-1], code, 1))
        self._decoder = nn.Sequential(nn.Conv2d(code, channels[-1], 1), *decoder)
        self.register_buffer("centre", torch.zeros(3, *size))
        # A constant of the code, and none of the weights.
        self.register_buffer("_grey", torch.tensor(GREY).reshape(1, 3, 1, 1).repeat(frames, 1, 1, 1), persistent=False)

    def forget(self) -> None:
        """Draw new weights, as torch does for new layers."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()

    def reconstructed(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures, what the network makes of them, and their codes.

        Args:
            clips: uint8 (N, T, H, W, 3) RGB.

        Returns:
            float32 (N, 3 · T, H, W) twice, 0 to 255, the second one about; and (N, code, h, w).
        """
        pictures = clips.permute(0, 1, 4, 2, 3).flatten(1, 2).to(torch.float32)
        height, width = self.centre.shape[1:]
        centre = self.centre.repeat(self._frames, 1, 1)
        # Sizes that the layers cannot halve are filled up at the lower and at the right border.
        more = [-size % self._reduction for size in (width, height)]
        codes = self._encoder(F.pad((pictures - centre) / 255, [0, more[0], 0, more[1]], mode="replicate"))
        return pictures, centre + 255 * self._decoder(codes)[..., :height, :width], codes

    def differences(self, pictures: Tensor, reconstructed: Tensor) -> list[Tensor]:
        """Return the differences that :attr:`error` names.

        Returns:
            L2: the squared difference, the mean over colours and pictures of the clip, float32 (N, H, W); SSIM: 1 − the
            similarity of the grey pictures (:func:`models.detectors.autoencoder.ssim.ssim_map`), the mean over the
            pictures of the clip, (N, H / 2, W / 2). Each is 0 where both are equal.
        """
        found = []
        if self.error is not Error.SSIM:
            found.append((pictures - reconstructed).square().mean(1))
        if self.error is not Error.L2:
            grey = (F.conv2d(one, self._grey, groups=self._frames) for one in (pictures, reconstructed))
            found.append(1 - ssim_map(*grey, every=EVERY).mean(1))
        return found

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps of clips in cells of 8 pixels.

        Args:
            clips: uint8 (N, T, H, W, 3) RGB.

        Returns:
            the means of :meth:`differences` over the cells, float32 (N, K, H / 8, W / 8), K of 1 or 2; and the mean
            code, (N, code).
        """
        pictures, reconstructed, codes = self.reconstructed(clips)
        maps = self.differences(pictures, reconstructed)
        cells = [F.avg_pool2d(one, one.shape[-1] * CELL // self.centre.shape[-1]) for one in maps]
        return torch.stack(cells, 1), codes.mean((2, 3))
