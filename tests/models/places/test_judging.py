"""Figures by level, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from place_squares import TREE, Squares

from models.places.data_set import PlaceSample
from models.places.judging import count_pixels, figures_by_level, only_boxed
from operators.figures.segments import VOID, SegmentCounts, count_segments

FIELD, SQUARE, RED, BLUE = (TREE.index[name] for name in ("field", "square", "red", "blue"))


def counts(*pixels: tuple[int, int]) -> SegmentCounts:
    truth, given = np.array(pixels).T
    return count_segments(truth, given, len(TREE.nodes))


def test_classes_that_only_boxes_supervise():
    assert only_boxed(TREE) == ("red", "blue")


def test_figures_by_hand():
    """Four red pixels: two right, one blue, one undecided below "square". Two of the field: one right, one red."""
    found = figures_by_level(
        TREE, counts((RED, RED), (RED, RED), (RED, BLUE), (RED, SQUARE), (FIELD, FIELD), (FIELD, RED), (VOID, RED))
    )
    first, second = found["levels"]
    assert first["classes"] == {
        "field": {"accuracy": 0.5, "iou": 0.5, "pixels": 2},
        "square": {"accuracy": 1.0, "iou": 0.8, "pixels": 4},  # 4 of 4 + 1 of the field
    }
    assert (first["mean_accuracy"], first["mean_iou"]) == (0.75, 0.65)
    assert second["classes"] == {
        "field": {"accuracy": 0.5, "iou": 0.5, "pixels": 2},
        "red": {"accuracy": 0.5, "iou": 0.4, "pixels": 4},  # 2 of 4 + 1 of the field
        "blue": {"accuracy": None, "iou": 0.0, "pixels": 0},
    }
    assert (second["mean_accuracy"], second["mean_iou"]) == (0.5, 0.3)
    assert found["only_boxed"] == {"classes": ["red", "blue"], "mean_accuracy": 0.5, "mean_iou": 0.2}
    assert found["void"] == 1


def test_a_picture_is_scaled_before_it_is_decided():
    judged, sizes = Squares("judged", 2, 0), []

    class Reds:
        """Says "red" everywhere."""

        network = torch.nn.Identity()

        def decide(self, pictures):
            sizes.append(tuple(pictures.shape))
            return torch.full(pictures.shape[:3], RED)

    seen: list[int] = []
    found = count_pixels(Reds(), TREE, judged, (24, 32), seen.append)
    assert sizes == [(1, 24, 32, 3)] * 2
    assert seen == [1, 2]
    assert found.table.sum() == found.table[:, RED].sum() == 2 * 24 * 32


def test_a_decision_that_is_the_truth_is_right_everywhere():
    judged = Squares("judged", 3, 0)
    samples = iter([judged.sample(index) for index in range(3)])

    class Oracle:
        network = torch.nn.Identity()

        def decide(self, pictures):
            sample: PlaceSample = next(samples)
            assert np.array_equal(pictures[0], sample.picture)
            return torch.from_numpy(sample.nodes)[None]

    found = figures_by_level(TREE, count_pixels(Oracle(), TREE, judged, (48, 64)))
    assert [level["mean_iou"] for level in found["levels"]] == [1, 1]
    assert found["only_boxed"]["mean_accuracy"] == pytest.approx(1)
