"""A label tree of three levels, small enough for values by hand."""

from __future__ import annotations

from models.places.tree import DataSet, LabelTree


def three_levels() -> LabelTree:
    """A tree with the nodes 0 sky, 1 sign, 2 back, 3 front, 4 stop, 5 yield."""
    return LabelTree(
        {"root": ("sky", "sign"), "sign": ("back", "front"), "front": ("stop", "yield")},
        {
            "coarse": DataSet(annotation="masks", labels=("sky", "sign")),
            "fine": DataSet(annotation="masks", labels=("back", "front")),
            "boxed": DataSet(annotation="boxes", labels=("stop", "yield")),
        },
    )
