"""Pictures with the node of each pixel, whatever annotated them and however they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class PlaceSample:
    """One annotated picture.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        nodes: int64 (H, W): the node of each pixel by its index in ``LabelTree.nodes``, or VOID. Of a picture with
            boxes: the node of the smallest box that contains the pixel, VOID outside of all.
    """

    picture: npt.NDArray[np.uint8]
    nodes: npt.NDArray[np.int64]


class PlaceSet(Protocol):
    """The pictures of one data set of a label tree."""

    @property
    def name(self) -> str:
        """The name of the data set in the tree."""
        ...

    @property
    def of_boxes(self) -> bool:
        """True where boxes annotate its pictures, False where masks do."""
        ...

    @property
    def digest(self) -> str:
        """A text that changes with the pictures and their annotation."""
        ...

    def __len__(self) -> int: ...

    def sample(self, index: int) -> PlaceSample:
        """Return a picture, the same each time.

        Raises:
            models.places.masks.MaskError: it or its annotation cannot be read; a line that names the file.
        """
        ...
