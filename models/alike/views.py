"""Random views of pictures, by torchvision: SimCLR's, and the strong ones of SCAN.

Everything is drawn from torch's random numbers, which the training seeds for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.alike.pictures.picture_set import Pixels
from models.alike.recipe import Strong, Weak

#: uint8 (m, C, H, W) → uint8 (m, C, H, W), the same change for all m.
Transform = Callable[[Tensor], Tensor]


def weak_views(recipe: Weak, size: tuple[int, int, int]) -> Transform:
    """Return SimCLR's random view of a picture: crop, flip, changed colours, grey.

    Args:
        size: height, width and channels of the pictures.
    """
    from torchvision.transforms import v2

    height, width, channels = size
    steps: list[nn.Module] = []
    if recipe.degrees or recipe.shift:
        steps.append(
            v2.RandomAffine(
                recipe.degrees, translate=(recipe.shift, recipe.shift), interpolation=v2.InterpolationMode.BILINEAR
            )
        )
    if recipe.least_area < 1:
        aspect = width / height
        ratio = (aspect * 3 / 4, aspect * 4 / 3)
        steps.append(v2.RandomResizedCrop((height, width), (recipe.least_area, 1.0), ratio, antialias=True))
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip())
    colour = channels == 3
    jitter = v2.ColorJitter(
        recipe.brightness, recipe.contrast, recipe.saturation if colour else 0, recipe.hue if colour else 0
    )
    steps.append(v2.RandomApply([jitter], recipe.jitter))
    if colour:
        steps.append(v2.RandomGrayscale(recipe.grey))
    return _composed(steps)


def strong_views(recipe: Strong, size: tuple[int, int, int]) -> Transform:
    """Return SCAN's random view of a picture: flip, RandAugment, and a black square of random size and place.

    Args:
        size: height, width and channels of the pictures.
    """
    from torchvision.transforms import v2

    steps: list[nn.Module] = [v2.RandomHorizontalFlip()] if recipe.flip else []
    if recipe.changes:
        steps.append(v2.RandAugment(recipe.changes, recipe.magnitude))
    height, width, _ = size
    if recipe.cutout * min(height, width) >= 1:
        least = 1 / min(height, width)
        share = min(height, width) / max(height, width)  # a square of the shorter side's share
        areas = (least**2 * share, recipe.cutout**2 * share)
        steps.append(v2.RandomErasing(1.0, scale=areas, ratio=(1.0, 1.0)))
    return _composed(steps)


def whole_pictures(pixels: Pixels) -> Tensor:
    """Return pictures as a network reads them: uint8 (n, H, W, C) → float32 (n, C, H, W), 0 to 1."""
    return _tensor(pixels).float() / 255


def viewed(pixels: Pixels, transform: Transform, together: int = 1) -> Tensor:
    """Return a random view of each picture: uint8 (n, H, W, C) → float32 (n, C, H, W), 0 to 1.

    Args:
        together: pictures in a row that share a draw.
    """
    return torch.cat([transform(some) for some in torch.split(_tensor(pixels), together)]).float() / 255


def _composed(steps: Sequence[nn.Module]) -> Transform:
    from torchvision.transforms import v2

    composed: Transform = v2.Compose(steps) if steps else nn.Identity()
    return composed


def _tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
