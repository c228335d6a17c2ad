"""The flat baseline's classes, its loss by hand, and the paper's protocol by hand."""

from __future__ import annotations

import math

import pytest
import torch

from models.places.flat import FlatClasses
from models.places.tree import DataSet, LabelTree
from operators.figures.segments import VOID

TREE = LabelTree(
    {"root": ("road", "sign", "inner"), "sign": ("front", "back"), "front": ("stop", "yield"), "inner": ("x", "y")},
    {
        "coarse": DataSet(annotation="masks", labels=("road", "sign", "x", "y")),
        "finer": DataSet(annotation="masks", labels=("front", "back")),
        "boxes": DataSet(annotation="boxes", labels=("stop", "yield")),
    },
)
FLAT = FlatClasses(TREE)


def test_classes_are_the_leaves_and_the_inner_nodes_that_a_data_set_labels():
    assert FLAT.names == ("road", "sign", "front", "back", "x", "y", "stop", "yield")


def decided(*ranking: str) -> str:
    """Return the node of a pixel whose classes come in this order, then all others."""
    logits = torch.zeros(len(FLAT.names))
    for place, name in enumerate(ranking):
        logits[FLAT.names.index(name)] = 10 - place
    return TREE.nodes[int(FLAT.decide(logits[None, :, None, None]))]


@pytest.mark.parametrize(
    ("ranking", "node"),
    [
        (("stop", "sign"), "stop"),  # the subclass is first
        (("sign", "back"), "back"),  # the class above is first, and the subclass second
        (("sign", "road", "back"), "sign"),  # another class is second
        (("front", "stop"), "stop"),
        (("sign", "front", "yield"), "yield"),  # three levels
        (("sign", "stop", "front"), "stop"),  # a grandchild is second
        (("sign", "front", "road", "stop"), "front"),
        (("sign", "front", "back"), "front"),  # beside, not below
        (("road", "stop"), "road"),
        (("front", "sign", "stop"), "front"),  # above, not below
    ],
)
def test_the_protocol(ranking, node):
    assert decided(*ranking) == node


def test_a_pixel_s_loss_by_hand():
    """Two labelled pixels of three: −log σ with logits 2, 0, … for one, and all equal for the other."""
    number = len(FLAT.names)
    logits = torch.zeros(1, number, 1, 3)
    logits[0, FLAT.names.index("sign"), 0, 0] = 2
    nodes = torch.tensor([[[TREE.index["sign"], TREE.index["stop"], VOID]]])
    expected = (math.log(math.exp(2) + number - 1) - 2 + math.log(number)) / 2
    assert float(FLAT.loss(logits, nodes)) == pytest.approx(expected)


def test_no_labelled_pixel_costs_nothing():
    logits = torch.zeros(1, len(FLAT.names), 1, 2, requires_grad=True)
    loss = FLAT.loss(logits, torch.full((1, 1, 2), VOID))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
