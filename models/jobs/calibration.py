"""Platt's scaling: from the logits of a network to scores that can be read as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

ClipScores = npt.NDArray[np.float32]  #: (n,), one video's scores or logits


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scores sigmoid(slope · z + shift) of logits z. Slope 1 and shift 0 leave the network's own scores."""

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, logits: ClipScores) -> ClipScores:
        """Return the scores in [0, 1] of logits, both (n,)."""
        scores: ClipScores = (1 / (1 + np.exp(-(self.slope * logits.astype(np.float64) + self.shift)))).astype(
            np.float32
        )
        return scores


def fit_calibration(logits: Sequence[ClipScores], labels: Sequence[int]) -> Calibration:
    """Fit a calibration on out-of-fold logits: the share of abnormal videos among clips with such a logit.

    The hinge of the ranking loss drives scores to 0 and 1, where a threshold separates nothing. Every video has the
    same weight, however many clips it has. Where a higher logit does not mean an abnormal video more often, the logits
    stay as they are.

    Args:
        logits: of each video, (n,).
        labels: of each video, 0 or 1; both occur.
    """
    weights = np.concatenate([np.full(len(video), 1 / len(video)) for video in logits])
    targets = np.concatenate([np.full(len(video), label) for video, label in zip(logits, labels, strict=True)])
    values = np.concatenate(logits).astype(np.float64)[:, None]
    scale = float(values.std()) or 1.0
    fitted = LogisticRegression(C=1e6).fit(values / scale, targets, sample_weight=weights)
    slope = float(fitted.coef_[0, 0]) / scale
    return Calibration(slope, float(fitted.intercept_[0])) if slope > 0 else Calibration()


def calibrated_scores(logits: Sequence[ClipScores], labels: Sequence[int]) -> list[ClipScores]:
    """Return the scores of out-of-fold logits after a calibration that is fitted on them."""
    calibration = fit_calibration(logits, labels)
    return [calibration(video) for video in logits]
