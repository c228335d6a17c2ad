"""The cost of a precision: figures worked out by hand, and the gate's bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import Alerting, PrecisionCost
from models.serving.accuracy import bound_of_move, compare_scores, complaint, in_words
from pipeline.manifests.manifest import Video

VIDEOS = [Video(Path(f"/films/{number}.mp4"), label) for number, label in enumerate((1, 1, 0, 0))]


def cost(**changes: object) -> PrecisionCost:
    figures = {
        "precision": "int8",
        "validation": "films",
        "videos": 4,
        "clips": 8,
        "auc_fp32": 0.9,
        "auc": 0.898,
        "auc_points_lost": 0.2,
        "auc_points_interval": (-0.1, 0.5),
        "largest_move": 0.05,
        "mean_move": 0.01,
        "bound": 0.1,
        "processor": "tests",
    }
    return PrecisionCost.model_validate(figures | changes)


def test_the_figures_are_those_by_hand():
    """One of the four pairs of an abnormal and a normal video changes its order: 25 points."""
    precise = [[0.9, 0.7], [0.6, 0.6], [0.5, 0.5], [0.1]]
    other = [[0.9, 0.7], [0.4, 0.6], [0.55, 0.55], [0.1]]
    found = compare_scores(VIDEOS, precise, other, kernel=2)
    assert (found.videos, found.clips) == (4, 7)
    assert (found.auc_fp32, found.auc, found.auc_points_lost) == (1.0, 0.75, 25.0)
    # Smoothed over two clips, the second video moves by 0.2 and 0.1, the third by 0.05 twice, of seven scores.
    assert found.largest_move == pytest.approx(0.2)
    assert found.mean_move == pytest.approx((0.2 + 0.1 + 0.05 + 0.05) / 7, abs=1e-5)


def test_videos_of_one_group_and_label_are_one_stream():
    """Two videos of a clip each: the second one's smoothed score is the mean of both."""
    pair = [Video(Path(f"/films/{number}.mp4"), 0, group="camera") for number in range(2)]
    found = compare_scores(pair, [[0.0], [0.0]], [[0.0], [0.2]], kernel=2)
    assert found.largest_move == pytest.approx(0.1)
    assert (found.auc, found.auc_points_lost) == (None, None)


def test_equal_scores_cost_nothing_and_videos_without_a_clip_count_for_nothing():
    found = compare_scores(VIDEOS, [[0.9], [], [0.1], [0.2]], [[0.9], [], [0.1], [0.2]], kernel=1)
    assert (found.videos, found.auc_points_lost, found.largest_move) == (3, 0.0, 0.0)
    assert found.auc_points_interval == (0.0, 0.0)
    with pytest.raises(ValueError, match="no validation video has a clip"):
        compare_scores(VIDEOS, [[], [], [], []], [[], [], [], []], kernel=1)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_bound_is_half_of_the_room_between_the_thresholds(one: float, other: float):
    close, opens = sorted((one, other))
    bound = bound_of_move(Alerting(kernel=1, open_threshold=opens, close_threshold=close))
    assert bound == pytest.approx(max((opens - close) / 2, 0.02), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"auc_points_lost": 0.5, "largest_move": 0.1}, ""),
        (
            {"auc": None, "auc_fp32": None, "auc_points_lost": None, "auc_points_interval": None},
            "one label alone; add abnormal and normal videos",
        ),
        (
            {"precision": "bf16", "auc": None, "auc_fp32": None, "auc_points_lost": None, "auc_points_interval": None},
            "",
        ),
        ({"auc_points_lost": 0.51}, "it loses 0.51 points of AUC (0.9000 to 0.8980); expected at most 0.5"),
        ({"largest_move": 0.101}, "it moves a smoothed score by 0.101; expected at most 0.1, half of the room"),
    ],
)
def test_the_gate_refuses_with_the_figures(changes, says):
    found = complaint(cost(**changes))
    assert found == "" if not says else says in found


def test_both_problems_are_named():
    assert complaint(cost(auc_points_lost=2.0, largest_move=0.3)).count("expected at most") == 2


def test_figures_in_words():
    assert in_words(cost()) == (
        "int8 on 4 videos of films: +0.20 points of AUC lost, smoothed scores moved by at most 0.050 (bound 0.1)"
    )
