"""The decision rule by hand, and against a walk down the tree pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.places.decision import decide
from models.places.tree import LabelTree
from tests.support.small_trees import three_levels


def walked(tree: LabelTree, scores: dict[str, np.ndarray]) -> np.ndarray:
    """The leaves of pixels in numpy, one by one."""
    batch, _, height, width = scores["root"].shape
    found = np.zeros((batch, height, width), np.int64)
    for at in np.ndindex(found.shape):
        node = "root"
        while node in tree.classifiers:
            node = tree.classifiers[node][int(np.argmax(scores[node][at[0], :, at[1], at[2]]))]
        found[at] = tree.nodes.index(node)
    return found


def pixels(*rows: tuple[float, float]) -> torch.Tensor:
    """Scores of two classes of some pixels in a row, (1, 2, 1, pixels)."""
    return torch.tensor(rows).T[None, :, None, :]


def test_by_hand() -> None:
    scores = {
        "root": pixels((2, 1), (0, 3), (0, 3), (0, 3)),
        "sign": pixels((0, 9), (5, 4), (1, 2), (1, 2)),  # the first pixel never comes here
        "front": pixels((9, 0), (0, 9), (1, 0), (0, 1)),
    }
    tree = three_levels()
    assert [tree.nodes[at] for at in decide(tree, scores).flatten()] == ["sky", "back", "stop", "yield"]


def test_equals_a_walk_of_each_pixel() -> None:
    tree = three_levels()
    rng = np.random.default_rng(5)
    scores = {name: rng.standard_normal((2, len(kids), 6, 7)) for name, kids in tree.classifiers.items()}
    found = decide(tree, {name: torch.from_numpy(values) for name, values in scores.items()})
    assert np.array_equal(found.numpy(), walked(tree, scores))
    assert set(found.unique().tolist()) == {tree.index[leaf] for leaf in tree.leaves}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sign": torch.zeros(1, 3, 1, 4)}, r"scores of sign must have the shape \(B, 2, H, W\) .* got \(1, 3, 1, 4\)"),
        ({"front": torch.zeros(1, 2, 2, 4)}, "scores of front must have"),
        ({"root": torch.zeros(2)}, "scores of root must have"),
        ({"sky": torch.zeros(1, 2, 1, 4)}, "expected scores of root, sign, front, got root, sign, front, sky"),
    ],
)
def test_unusable_scores_are_refused(changed: dict[str, torch.Tensor], message: str) -> None:
    scores = {name: torch.zeros(1, 2, 1, 4) for name in three_levels().classifiers}
    with pytest.raises(ValueError, match=message):
        decide(three_levels(), scores | changed)
