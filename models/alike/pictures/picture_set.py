"""Pictures of one size, and their labels where they have any."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: uint8 (n, H, W, C), C 1 or 3 (RGB); a map of a file where they are more than fits into memory.
Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

#: Pictures that are read at once for a hash.
_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of one size.

    Attributes:
        labels: int64 (n,), ordinals of the data's ``classes``; None where there are none.
    """

    pixels: Pixels
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def digest(self) -> str:
        """The SHA-256 of all pixels and labels."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        for first in range(0, len(self), _AT_ONCE):
            digest.update(np.ascontiguousarray(self.pixels[first : first + _AT_ONCE]).tobytes())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def part(self, ordinals: npt.NDArray[np.int64]) -> PictureSet:
        """Return some of the pictures."""
        return PictureSet(self.pixels[ordinals], None if self.labels is None else self.labels[ordinals])


@dataclass(frozen=True, eq=False)
class PictureData:
    """The pictures of a training.

    Attributes:
        name: of the data set, for the card.
        learned: those that are learned from and clustered.
        judged: others of the same kind, for figures.
        classes: names of the labels; empty where there are none.
        unlabelled: further pictures, for the pretext alone.
    """

    name: str
    learned: PictureSet
    judged: PictureSet
    classes: tuple[str, ...] = ()
    unlabelled: PictureSet | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures."""
        height, width, channels = self.learned.pixels.shape[1:]
        return height, width, channels


def divided(name: str, pictures: PictureSet, classes: tuple[str, ...], judged: float) -> PictureData:
    """Return pictures divided at random into those that are learned from and those that are judged.

    Args:
        judged: share of the latter.
    """
    order = np.random.default_rng(0).permutation(len(pictures))
    number = min(max(1, round(judged * len(pictures))), len(pictures) - 1)
    parts = np.sort(order[number:]), np.sort(order[:number])
    return PictureData(name, pictures.part(parts[0]), pictures.part(parts[1]), classes)
