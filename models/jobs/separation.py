"""The separation of abnormal from normal videos by their scores, and a baseline for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.jobs.errors import TrainingError

if TYPE_CHECKING:
    from models.jobs.calibration import ClipScores

#: Of the regularisation of the baseline.
_INVERSE_STRENGTH = 0.01


def video_auc(labels: Sequence[int], scores: Sequence[ClipScores]) -> float:
    """Return the area under the ROC curve of the videos' mean clip scores; 0.5 is chance.

    Raises:
        TrainingError: all videos have the same label.
    """
    if len(set(labels)) < 2:
        raise TrainingError("a ROC curve needs normal and abnormal videos")
    return float(roc_auc_score(labels, [float(np.mean(video)) for video in scores]))


def probe_scores(
    features: Sequence[npt.NDArray[np.float32]], labels: Sequence[int], folds: Sequence[Sequence[int]]
) -> npt.NDArray[np.float64]:
    """Score videos by the baseline: logistic regression on their mean features, standardised, trained out of fold.

    Args:
        features: of each video's clips, (n, D).
        labels: of each video, 0 or 1.
        folds: ordinals of the videos of each fold.

    Returns:
        (videos,), decision values.
    """
    means = np.stack([video.mean(0) for video in features])
    truth = np.array(labels)
    scores = np.zeros(len(means))
    for fold in folds:
        train = np.setdiff1d(np.arange(len(means)), fold)
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_STRENGTH, max_iter=2000))
        scores[list(fold)] = probe.fit(means[train], truth[train]).decision_function(means[list(fold)])
    return scores
