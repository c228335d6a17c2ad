"""The structural similarity of two pictures, pixel by pixel.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, Image quality assessment: from error visibility to structural
similarity (IEEE Transactions on Image Processing 13, 2004), equation 13:

    SSIM = (2 μx μy + C1) (2 σxy + C2) / ((μx² + μy² + C1) (σx² + σy² + C2))

Means, variances and the covariance are those of a window around the pixel, weighted by a Gaussian. P. Bergmann et al.
(Improving unsupervised defect segmentation by applying structural similarity to autoencoders, 2019) find defects by it.
The paper has no map at the borders. Here the pictures are mirrored there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Side of the window, pixels, and spread of its Gaussian: those of the paper, and of Bergmann et al.
WINDOW, SPREAD = 11, 1.5
#: C1 and C2 for pictures in 0 to 255: (0.01 · 255)² and (0.03 · 255)², the paper's.
C1, C2 = 6.5025, 58.5225


def ssim_map(first: Tensor, second: Tensor, *, every: int = 1) -> Tensor:
    """Return the similarity around pixels, −1 to 1; 1 where both are equal.

    Args:
        first, second: grey pictures of more than 5 pixels a side, float32 (N, C, H, W), 0 to 255.
        every: pixels from one to the next, from 0 on, in rows and in columns.

    Returns:
        float32 (N, C, ⌈H / every⌉, ⌈W / every⌉).
    """
    # One by one: OpenVINO copies maps to concatenate them.
    products = (first, second, first * first, second * second, first * second)
    mean_1, mean_2, square_1, square_2, product = (_blurred(one, every) for one in products)
    squares, both = mean_1 * mean_1 + mean_2 * mean_2, mean_1 * mean_2
    covariance, variances = product - both, square_1 + square_2 - squares
    return (2 * both + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))


def _blurred(maps: Tensor, every: int) -> Tensor:
    """Return the weighted mean of the window around each of these pixels."""
    radius, channels = WINDOW // 2, maps.shape[1]
    weights = torch.exp(-torch.arange(-radius, radius + 1, dtype=torch.float32).square() / (2 * SPREAD**2))
    window = (weights / weights.sum()).expand(channels, 1, 1, WINDOW)  # a Gaussian is the product of rows and columns
    found = F.pad(maps, 4 * [radius], mode="reflect")
    found = F.conv2d(found, window.transpose(2, 3), groups=channels, stride=(every, 1))
    return F.conv2d(found, window, groups=channels, stride=(1, every))
