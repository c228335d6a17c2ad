"""Platt's scaling of out-of-fold logits."""

from __future__ import annotations

import numpy as np
import pytest

from models.jobs.calibration import fit_calibration


def scores(*videos):
    return [np.array(video, np.float32) for video in videos]


def test_calibrated_scores_are_shares():
    # Of the videos with logit -20 one in four is abnormal, of those with logit 30 three in four.
    logits = scores(*[[-20.0] * n for n in (1, 2, 3, 4)], *[[30.0] * n for n in (4, 3, 2, 1)])
    labels = [0, 0, 0, 1, 1, 1, 1, 0]
    calibration = fit_calibration(logits, labels)
    assert calibration(np.array([-20.0, 30.0], np.float32)).tolist() == pytest.approx([0.25, 0.75], abs=1e-3)


def test_a_calibration_never_turns_the_order_around():
    calibration = fit_calibration(scores([5.0], [4.0], [-4.0], [-5.0]), [0, 0, 1, 1])
    assert (calibration.slope, calibration.shift) == (1.0, 0.0)
