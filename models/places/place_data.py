"""The data sets of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.places.data_set import PlaceSet
from models.places.tree import LabelTree


@dataclass(frozen=True, slots=True)
class PlaceData:
    """The data sets of a label tree.

    Attributes:
        sets: to learn from, by name.
        judged: with dense masks of the finest classes; None for a training that is not judged.
        judged_in_words: the judged pictures, for the card.
    """

    tree: LabelTree
    sets: Mapping[str, PlaceSet]
    judged: PlaceSet | None = None
    judged_in_words: str = ""


class PlaceSources(Protocol):
    """Data sets that may have to be rendered first.

    Attributes:
        inputs: everything that the rendered pictures depend on; plain JSON.
    """

    inputs: Mapping[str, Any]

    def prepare(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Render pictures into a folder. After a kill the same call continues.

        Args:
            progress: called with (pictures done, pictures in all).

        Raises:
            OSError: the folder cannot be written.
        """
        ...

    def read(self, folder: Path) -> PlaceData:
        """Return the data sets.

        Args:
            folder: the complete result of :meth:`prepare`.

        Raises:
            MaskError, TreeError: a data set cannot be read, or has other labels than the label tree.
        """
        ...
