"""Cityscapes (M. Cordts et al. 2016): street scenes with fine masks.

Layout::

    leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png
    gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png      # grey: ids 0 to 33

Licence plates have the id −1. The authors' program does not draw labels below 0, so their pixels have the label of the
car. In masks that were made otherwise, −1 in a byte is 255, which is void. Pictures of the split ``test`` are published
without labels.
"""

from __future__ import annotations

from pathlib import Path

from models.places.data_set import PlaceSet
from models.places.published import MaskedPictures, check_labels, list_pictures
from models.places.tree import LabelTree

#: The labels by their id.
LABELS = (
    "unlabeled",
    "ego vehicle",
    "rectification border",
    "out of roi",
    "static",
    "dynamic",
    "ground",
    "road",
    "sidewalk",
    "parking",
    "rail track",
    "building",
    "wall",
    "fence",
    "guard rail",
    "bridge",
    "tunnel",
    "pole",
    "polegroup",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "caravan",
    "trailer",
    "train",
    "motorcycle",
    "bicycle",
)

_LICENCE_PLATE = 255  # −1 in a byte

_PICTURE, _MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


def cityscapes(folder: Path, tree: LabelTree, *, name: str = "cityscapes", split: str = "train") -> PlaceSet:
    """Return the pictures of a split.

    Args:
        folder: holds ``leftImg8bit`` and ``gtFine``.
        name: of the data set in the tree.
        split: ``train`` or ``val``.

    Raises:
        TreeError: the tree has other labels.
        MaskError: pictures or masks are missing; a line for each.
    """
    check_labels(tree, name, "masks", LABELS, "the data set's ids")
    pictures = list_pictures(folder / "leftImg8bit" / split, f"*/*{_PICTURE}")
    masks = folder / "gtFine" / split
    files = [(file, masks / file.parent.name / (file.name.removesuffix(_PICTURE) + _MASK)) for file in pictures]
    return MaskedPictures(tree, name, files, void=_LICENCE_PLATE)
