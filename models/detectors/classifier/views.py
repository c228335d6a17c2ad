"""The views of a picture in training: parts of it, mirrored or not, in other light."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from models.detectors.classifier.recipe import ClassifierRecipe
from models.jobs.checkpoints import derived_seed, own_random_numbers


def whole(picture: npt.NDArray[np.uint8], recipe: ClassifierRecipe) -> npt.NDArray[np.uint8]:
    """Return a stored picture as it is scored: uint8 (H', W', 3) → (H, W, 3)."""
    from torchvision.transforms import v2

    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    return _array(v2.functional.resize(tensor, [recipe.height, recipe.width], antialias=True))


def view(
    picture: npt.NDArray[np.uint8], recipe: ClassifierRecipe, *, seed: int, ordinal: int, number: int
) -> npt.NDArray[np.uint8]:
    """Return a view of a stored picture: uint8 (H', W', 3) → (H, W, 3).

    Args:
        seed: of the training.
        ordinal: of the picture. The view depends on nothing but these three numbers, so a killed training continues
            exactly.
        number: of the view.
    """
    from torchvision.transforms import v2

    of = recipe.augmentation
    aspect = recipe.width / recipe.height
    steps: list[torch.nn.Module] = [
        v2.RandomResizedCrop(
            (recipe.height, recipe.width),
            scale=(of.least_area, 1.0),
            ratio=(aspect * 0.9, aspect / 0.9),
            antialias=True,
        ),
        v2.ColorJitter(brightness=of.brightness, contrast=of.contrast, saturation=of.saturation),
    ]
    if of.flip:
        steps.append(v2.RandomHorizontalFlip())
    with own_random_numbers(derived_seed(seed, ordinal, number), devices=()):
        return _array(v2.Compose(steps)(torch.from_numpy(picture).permute(2, 0, 1)))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8] = tensor.permute(1, 2, 0).contiguous().numpy()
    return array
