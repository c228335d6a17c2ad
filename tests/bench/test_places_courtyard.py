"""The bench of hierarchical and flat networks: the generous decision and the interval, by hand."""

from __future__ import annotations

import pytest
import torch
from place_squares import TREE
from torch import nn

from models.places.flat import FlatClasses


@pytest.fixture(scope="module")
def bench(load):
    return load("places_courtyard")


class Fixed(nn.Module):
    """Gives the same logits for every picture."""

    def __init__(self, rows: list[dict[str, float]]) -> None:
        super().__init__()
        names = FlatClasses(TREE).names
        self.logits = torch.tensor([[row.get(name, 0.0) for name in names] for row in rows]).T[None, :, None]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_below_an_inner_node_that_comes_first_the_best_class_decides(bench):
    network = Fixed(
        [
            {"square": 9, "field": 8, "blue": 2, "red": 1},  # the paper's protocol stops at "square"
            {"field": 9, "blue": 8},
            {"red": 9, "square": 8, "blue": 7},
        ]
    )
    found = bench.BestBelow(network, TREE).decide(torch.zeros(1, 1, 3, 3, dtype=torch.uint8))
    assert [TREE.nodes[node] for node in found.flatten()] == ["blue", "field", "red"]
    flat = FlatClasses(TREE).decide(network.logits)
    assert [TREE.nodes[node] for node in flat.flatten()] == ["square", "field", "red"]


def figures(accuracy: float, iou: float) -> dict[str, object]:
    classes = {"red": {"accuracy": accuracy, "iou": iou}, "blue": {"accuracy": None, "iou": None}}
    means = {"mean_accuracy": accuracy, "mean_iou": iou}
    return {"only_boxed": {"classes": ["red", "blue"], **means}, "levels": [{"level": 1, **means, "classes": classes}]}


@pytest.fixture
def runs(bench):
    """Gains of 0.1, 0.2 and 0.3 in accuracy, and none in IoU."""
    return [
        {bench.HIERARCHICAL: figures(0.5 + gain, 0.4), bench.FLAT: figures(0.5, 0.4), bench.GENEROUS: figures(0.6, 0.4)}
        for gain in (0.1, 0.2, 0.3)
    ]


def test_student_s_interval_over_three_seeds(bench, runs):
    """t of 2 degrees of freedom at 97.5 % is 4.3027, the deviation 0.1: half of the interval is 4.3027 · 0.1 / √3."""
    found = bench.difference(runs, bench.FLAT, "mean_accuracy")
    assert found == {
        "value": 0.2,
        "low": pytest.approx(0.2 - 0.2484, abs=1e-4),
        "high": pytest.approx(0.4484, abs=1e-4),
    }
    assert bench.difference(runs, bench.FLAT, "mean_iou") == {"value": 0, "low": 0, "high": 0}


def test_means_leave_out_what_is_not_defined(bench, runs):
    found = bench.summary([run[bench.HIERARCHICAL] for run in runs])
    assert found["only_boxed"]["mean_accuracy"] == {"value": 0.7, "runs": pytest.approx([0.6, 0.7, 0.8])}
    assert found["levels"][0]["classes"]["blue"] == {"accuracy": None, "iou": None}
    assert found["levels"][0]["mean_accuracy"] == 0.7
