"""Figures and thresholds against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors.mist.generator_training import Bag, Recipe, TrainingError, clip_logits, train_generator
from models.jobs.thresholds import (
    fit_calibration,
    operating_point,
    out_of_fold_logits,
    peaks_as_live,
    probe_scores,
    smoothed_as_live,
    suggest_alerting,
    video_auc,
)


def scores(*videos):
    return [np.array(video, np.float32) for video in videos]


def test_the_video_auc_counts_ordered_pairs_of_means():
    # means: abnormal 0.6, 0.3; normal 0.2, 0.4. Of 4 pairs 3 are in order.
    assert video_auc([1, 1, 0, 0], scores([0.9, 0.3], [0.3], [0.1, 0.3], [0.4])) == pytest.approx(0.75)
    with pytest.raises(TrainingError, match="needs normal and abnormal"):
        video_auc([1, 1], scores([0.1], [0.2]))


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


def test_out_of_fold_logits_come_from_the_other_folds():
    rng = np.random.default_rng(0)
    bags = [Bag(rng.normal(size=(3 + i % 4, 5)).astype(np.float32) + i % 2, i % 2) for i in range(12)]
    folds = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    recipe = Recipe(name="t", loss="paper", sub_bags=2, sub_bag_clips=2, batch=4, epochs=3)
    found = out_of_fold_logits(bags, folds, recipe, seed=5)
    for fold in folds:
        generator = train_generator([bag for i, bag in enumerate(bags) if i not in fold], recipe, seed=5)
        for i in fold:
            assert np.array_equal(found[i], clip_logits(generator, bags[i].features))


def test_the_probe_cannot_use_what_its_own_fold_would_tell():
    # Each fold's abnormal videos lean along an axis that no other fold knows.
    bags = [
        Bag(np.full((2, 6), 5.0 * np.eye(6)[fold] * label, np.float32).reshape(2, 6), label)
        for fold in range(3)
        for label in (0, 1)
        for _ in range(3)
    ]
    folds = [list(range(start, start + 6)) for start in (0, 6, 12)]
    known = probe_scores(bags, [[0, 3], [1, 4], [2, 5], list(range(6, 18))])
    unknown = probe_scores(bags, folds)
    labels = np.array([bag.label for bag in bags])
    assert known[:6][labels[:6] == 1].min() > known[:6][labels[:6] == 0].max()
    assert np.ptp(unknown[:6]) < 1e-6


def test_a_kernel_longer_than_the_videos_is_not_suggested():
    labels = [0] * 6 + [1] * 6
    videos = scores(*[[0.1, 0.9, 0.1]] * 6, *[[0.8, 0.3, 0.8]] * 6)
    alerting, _ = suggest_alerting(videos, labels, ["hall"] * 12, kernels=(5, 1))
    assert alerting.kernel == 1


def test_calibrated_scores_are_shares():
    # Of the videos with logit -20 one in four is abnormal, of those with logit 30 three in four.
    logits = scores(*[[-20.0] * n for n in (1, 2, 3, 4)], *[[30.0] * n for n in (4, 3, 2, 1)])
    labels = [0, 0, 0, 1, 1, 1, 1, 0]
    calibration = fit_calibration(logits, labels)
    assert calibration(np.array([-20.0, 30.0], np.float32)).tolist() == pytest.approx([0.25, 0.75], abs=1e-3)


def test_a_calibration_never_turns_the_order_around():
    calibration = fit_calibration(scores([5.0], [4.0], [-4.0], [-5.0]), [0, 0, 1, 1])
    assert (calibration.slope, calibration.shift) == (1.0, 0.0)
