"""The hierarchical loss by hand, and against an independent implementation in numpy."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from models.places.loss import hierarchical_loss
from models.places.tree import LabelTree
from operators.figures.segments import VOID
from tests.support.small_trees import three_levels

SKY, SIGN, BACK, FRONT, STOP, YIELD = range(6)


def numpy_loss(
    tree: LabelTree, logits: dict[str, np.ndarray], nodes: np.ndarray, boxes: np.ndarray, weights: list[float]
) -> float:
    """The loss, pixel by pixel; the way to a node is found from its parents."""
    parent = {child: name for name, kids in tree.classifiers.items() for child in kids}
    total = 0.0
    for name, kids in tree.classifiers.items():
        terms: dict[bool, list[float]] = {False: [], True: []}
        for b, y, x in np.ndindex(nodes.shape):
            step = None if nodes[b, y, x] == VOID else tree.nodes[nodes[b, y, x]]
            while step is not None and parent.get(step) != name:
                step = parent.get(step)
            if step is None:
                continue
            if boxes[b]:
                if name == "root":
                    continue
                above = tree.classifiers[parent[name]]
                if above[int(np.argmax(logits[parent[name]][b, :, y, x]))] != name:
                    continue
            terms[bool(boxes[b])].append(-log_softmax(logits[name][b, :, y, x])[kids.index(step)])
        level, step = 0, name
        while step != "root":
            level, step = level + 1, parent[step]
        total += weights[level] * sum(float(np.mean(values)) for values in terms.values() if values)
    return total


def pixels(*rows: tuple[float, float]) -> torch.Tensor:
    """Logits of two classes of two pictures with two pixels in a row, (2, 2, 1, 2)."""
    return torch.tensor(rows, dtype=torch.float32).reshape(2, 1, 2, 2).permute(0, 3, 1, 2)


def softplus(value: float) -> float:
    return log(1 + exp(value))


class TestByHand:
    # Picture 0 has masks: sky and front. Picture 1 has a box of stop, and one of its two pixels is judged a front.
    NODES = torch.tensor([[[SKY, FRONT]], [[STOP, STOP]]])
    BOXES = torch.tensor([False, True])

    def logits(self) -> dict[str, torch.Tensor]:
        return {
            "root": pixels((1, 0), (0, 2), (0, 1), (1, 0)),
            "sign": pixels((0, 0), (0, 1), (0, 3), (4, 0)),
            "front": pixels((0, 0), (0, 0), (2, 0), (0, 5)),
        }

    def test_loss_of_each_classifier(self) -> None:
        loss = hierarchical_loss(three_levels(), self.logits(), self.NODES, self.BOXES)
        # With two classes, −log σ_y = log(1 + exp(other − own)).
        root = (softplus(-1) + softplus(-2)) / 2  # boxes do not count
        sign = softplus(-1) + softplus(-3)  # the mask's front, and the box pixel that the root calls a sign
        front = softplus(-2)  # the box pixel that the classifier of signs calls a front
        assert {name: value.item() for name, value in loss.classifiers.items()} == pytest.approx(
            {"root": root, "sign": sign, "front": front}, abs=1e-6
        )
        assert loss.total.item() == pytest.approx(1.0 * root + 0.1 * sign + 0.1 * front, abs=1e-6)

    def test_weights_by_level(self) -> None:
        loss = hierarchical_loss(three_levels(), self.logits(), self.NODES, self.BOXES, (2.0, 0.5))
        root, sign, front = loss.classifiers.values()
        assert loss.total.item() == pytest.approx((2.0 * root + 0.5 * sign + 0.5 * front).item())


@pytest.mark.parametrize("seed", range(4))
def test_equals_numpy(seed: int) -> None:
    tree = three_levels()
    rng = np.random.default_rng(seed)
    logits = {name: rng.normal(0, 2, (3, len(kids), 5, 6)) for name, kids in tree.classifiers.items()}
    nodes = rng.integers(VOID, len(tree.nodes), (3, 5, 6))
    boxes = np.array([False, True, seed % 2 == 0])
    loss = hierarchical_loss(
        tree,
        {name: torch.from_numpy(values) for name, values in logits.items()},
        torch.from_numpy(nodes),
        torch.from_numpy(boxes),
        (1.0, 0.3, 0.2),
    )
    assert loss.total.item() == pytest.approx(numpy_loss(tree, logits, nodes, boxes, [1.0, 0.3, 0.2]), rel=1e-10)


def test_without_labels_loss_and_gradients_are_zero() -> None:
    logits = {name: torch.randn(1, 2, 3, 3, requires_grad=True) for name in three_levels().classifiers}
    loss = hierarchical_loss(three_levels(), logits, torch.full((1, 3, 3), VOID), torch.tensor([False])).total
    loss.backward()
    assert loss.item() == 0
    for values in logits.values():
        assert values.grad is not None
        assert not values.grad.any()


def test_boxes_give_the_parent_no_gradient_of_its_decision() -> None:
    logits = {name: torch.randn(1, 2, 3, 3, requires_grad=True) for name in three_levels().classifiers}
    loss = hierarchical_loss(three_levels(), logits, torch.full((1, 3, 3), STOP), torch.tensor([True]))
    (gradient,) = torch.autograd.grad(loss.classifiers["front"], logits["sign"], allow_unused=True)
    assert gradient is None


@pytest.mark.parametrize(
    ("nodes", "boxes", "message"),
    [
        (torch.zeros(1, 2, 2, dtype=torch.int64), torch.tensor([False]), r"nodes must have the shape \(1, 3, 3\)"),
        (torch.zeros(1, 3, 3, dtype=torch.int64), torch.tensor([False, True]), r"and boxes \(1,\), got .* \(2,\)"),
        (torch.full((1, 3, 3), 6), torch.tensor([False]), "nodes must be 0 to 5, or -1 for void"),
        (torch.full((1, 3, 3), -2), torch.tensor([False]), "nodes must be 0 to 5, or -1 for void"),
        (torch.zeros(1, 3, 3), torch.tensor([False]), r"nodes must be int64 and boxes bool, got torch\.float32"),
    ],
)
def test_unusable_targets_are_refused(nodes: torch.Tensor, boxes: torch.Tensor, message: str) -> None:
    logits = {name: torch.zeros(1, 2, 3, 3) for name in three_levels().classifiers}
    with pytest.raises(ValueError, match=message):
        hierarchical_loss(three_levels(), logits, nodes, boxes)


def test_no_weights_are_refused() -> None:
    logits = {name: torch.zeros(1, 2, 3, 3) for name in three_levels().classifiers}
    with pytest.raises(ValueError, match="level_weights must hold at least one weight"):
        hierarchical_loss(three_levels(), logits, torch.full((1, 3, 3), SKY), torch.tensor([False]), ())
