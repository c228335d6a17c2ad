"""Figures and thresholds against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.jobs.thresholds import (
    alerting_of_normal,
    operating_point,
    peaks_as_live,
    smoothed_as_live,
    suggest_alerting,
)


def scores(*videos):
    return [np.array(video, np.float32) for video in videos]


def test_smoothing_is_causal():
    assert smoothed_as_live([0.0, 0.6, 0.9, 0.0], 3).tolist() == pytest.approx([0.0, 0.3, 0.5, 0.5])


def test_peaks_run_on_within_a_group_and_label():
    videos = scores([0.0, 0.8], [0.6], [0.2])
    # One stream 0, .8, .6: averages of two 0, .4, .7. The third video is a stream of its own.
    together = peaks_as_live(videos, [1, 1, 0], ["hall", "hall", "hall"], 2)
    assert together.tolist() == pytest.approx([0.4, 0.7, 0.2])
    apart = peaks_as_live(videos, [1, 1, 0], ["hall", "yard", "hall"], 2)
    assert apart.tolist() == pytest.approx([0.4, 0.6, 0.2])


def test_the_operating_point_by_hand():
    labels = [0, 0, 0, 0, 1, 1]
    peaks = np.array([0.1, 0.2, 0.305, 0.8, 0.5, 0.9])
    # Of four normal videos one may reach it: just above 0.305.
    point = operating_point(peaks, labels, 3, false_alarms=0.25)
    assert (point.threshold, point.recall, point.false_alarms) == (0.31, 1.0, 0.25)
    point = operating_point(peaks, labels, 3, false_alarms=0.2)
    assert (point.threshold, point.recall, point.false_alarms) == (0.81, 0.5, 0.0)


def test_where_no_threshold_helps_the_share_tells():
    point = operating_point(np.array([1.0, 1.0, 0.2, 1.0]), [0, 0, 0, 1], 1, false_alarms=0.05)
    assert (point.threshold, point.false_alarms) == (0.99, pytest.approx(2 / 3))


def test_the_kernel_with_the_highest_recall_is_suggested():
    # A lone high clip in a normal video: only an average tells it from a fight.
    normal = [[0.1, 0.91, 0.1, 0.1, 0.1, 0.1]] * 4
    fight = [[0.8, 0.8, 0.8, 0.8, 0.8, 0.8]] * 4
    labels = [0] * 4 + [1] * 4
    groups = [f"g{i}" for i in range(8)]
    alerting, point = suggest_alerting(scores(*normal, *fight), labels, groups)
    assert alerting.kernel == 3  # of 3 and 5, which both do, the shorter
    assert (point.recall, point.false_alarms) == (1.0, 0.0)
    # (0.1 + 0.91) / 2 = 0.505 is the highest average of a normal video: the second clip has but one before it.
    assert alerting.open_threshold == 0.51
    assert alerting.close_threshold <= alerting.open_threshold


def test_a_kernel_longer_than_the_videos_is_not_suggested():
    labels = [0] * 6 + [1] * 6
    videos = scores(*[[0.1, 0.9, 0.1]] * 6, *[[0.8, 0.3, 0.8]] * 6)
    alerting, _ = suggest_alerting(videos, labels, ["hall"] * 12, kernels=(5, 1))
    assert alerting.kernel == 1


class TestNormalFootageAlone:
    def test_one_clip_in_a_thousand_may_open_and_one_in_a_hundred_hold(self) -> None:
        """Of 2000 clips, three at 0.83 and twenty at 0.62: 0.0015 reach 0.83, 0.0115 reach 0.62."""
        piece = np.full(2000, 0.1)
        piece[[100, 700, 1500]] = 0.83
        piece[200:400:10] = 0.62
        alerting, reached = alerting_of_normal([piece], 1)
        assert (alerting.kernel, alerting.open_threshold, alerting.close_threshold) == (1, 0.84, 0.63)
        assert reached == {"share_at_open_threshold": 0.0, "share_at_close_threshold": 0.0015}

    def test_scores_are_smoothed_within_a_piece(self) -> None:
        """By twos, 0.83 beside 0.1 is 0.465. The first clip of a piece stands alone: once in 2000."""
        first, second = np.full(1000, 0.1), np.full(1000, 0.1)
        first[500], second[0] = 0.83, 0.83
        alerting, _ = alerting_of_normal([first, second], 2, least=0.05)
        assert alerting.open_threshold == 0.47

    def test_quiet_footage_has_the_least_threshold(self) -> None:
        alerting, _ = alerting_of_normal([np.full(500, 0.1)], 3)
        assert (alerting.open_threshold, alerting.close_threshold) == (0.5, 0.11)

    def test_footage_that_is_always_strange_has_the_highest(self) -> None:
        alerting, reached = alerting_of_normal([np.full(500, 1.0)], 1)
        assert alerting.open_threshold == alerting.close_threshold == 0.99
        assert reached["share_at_open_threshold"] == 1.0
