"""The data sets of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
