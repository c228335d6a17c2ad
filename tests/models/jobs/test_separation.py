"""The baseline, and the AUC of videos."""

from __future__ import annotations

import numpy as np
import pytest

from models.jobs.errors import TrainingError
from models.jobs.separation import probe_scores, video_auc


def test_the_probe_cannot_use_its_own_fold():
    # Each fold's abnormal videos lean along an axis that no other fold knows.
    labels = np.array([0, 0, 0, 1, 1, 1] * 3)
    features = [np.tile(5.0 * np.eye(6)[i // 6] * label, (2, 1)).astype(np.float32) for i, label in enumerate(labels)]
    folds = [list(range(start, start + 6)) for start in (0, 6, 12)]
    known = probe_scores(features, labels, [[0, 3], [1, 4], [2, 5], list(range(6, 18))])
    unknown = probe_scores(features, labels, folds)
    assert known[:6][labels[:6] == 1].min() > known[:6][labels[:6] == 0].max()
    assert np.ptp(unknown[:6]) < 1e-6


def test_the_auc_is_that_of_the_videos_means():
    # Means 0.2, 0.5 (normal) and 0.4, 0.9 (abnormal): three of the four pairs are in order.
    scores = [np.array(video, np.float32) for video in ([0.2], [0.1, 0.9], [0.4, 0.4], [0.9])]
    assert video_auc([0, 0, 1, 1], scores) == pytest.approx(0.75)


def test_one_label_has_no_auc():
    with pytest.raises(TrainingError, match="needs normal and abnormal videos"):
        video_auc([1, 1], [np.zeros(2, np.float32)] * 2)
