"""From scores to probabilities: Platt's sigmoid, fitted on clips with a known truth.

J. Platt, Probabilistic outputs for support vector machines, 1999: logistic regression of one number, with targets a
little below certainty, so that a fit exists even for separable classes. The number is the score's logit, because the
models' scores are sigmoids: a calibrated model gets slope 1 and shift 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError

#: Least distance of a score from 0 and 1.
_LEAST = 1e-6


class NoProbabilityError(UsageError, ValueError):
    """Scores that cannot be mapped to probabilities. One line."""


@dataclass(frozen=True, slots=True)
class ProbabilityOfScore:
    """The map P(a clip shows an incident) = 1 / (1 + exp(−(slope · logit s + shift))) for its smoothed score s.

    ``shift`` includes the share of incidents among the fitted clips. If incidents are rarer, the odds at every score
    shrink by the same factor as the odds of an incident.

    Attributes:
        slope: above 0.
        shift: log-odds of a score of 0.5.
        clips, abnormal_clips: numbers of fitted clips.
    """

    slope: float
    shift: float
    clips: int
    abnormal_clips: int

    def __call__(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Convert scores in [0, 1] of any shape to float64 probabilities of that shape."""
        return np.asarray(1 / (1 + np.exp(-(self.slope * _logit(scores) + self.shift))), np.float64)


def fit(scores: npt.ArrayLike, abnormal: npt.ArrayLike) -> ProbabilityOfScore:
    """Fit the sigmoid to clips.

    Args:
        scores: (N,), smoothed as live, in [0, 1].
        abnormal: bool (N,), which clips show an incident.

    Raises:
        NoProbabilityError: clips of one class only, or incidents do not score higher than the rest.
        ValueError: not one score and one truth a clip, or scores outside [0, 1].
    """
    from sklearn.linear_model import LogisticRegression

    row, truth = np.asarray(scores, np.float64), np.asarray(abnormal, np.bool_)
    if row.ndim != 1 or row.shape != truth.shape or not ((row >= 0) & (row <= 1)).all():
        raise ValueError(f"expected a score in [0, 1] and a truth for each clip, got shapes {row.shape}, {truth.shape}")
    positives, clips = int(truth.sum()), len(truth)
    if not 0 < positives < clips:
        raise NoProbabilityError(
            f"{positives} of {clips} clips show an incident: probabilities need clips with and without incidents"
        )
    # A target t between 0 and 1 is a clip that counts t times as abnormal and 1 − t times as normal.
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (clips - positives + 2))
    numbers = _logit(row)[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.concatenate([numbers, numbers]),
        np.repeat([1, 0], clips),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        raise NoProbabilityError(
            "clips with an incident do not score higher than the others: probabilities cannot be fitted"
        )
    return ProbabilityOfScore(slope, shift, clips, positives)


def _logit(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    inside = np.clip(np.asarray(scores, np.float64), _LEAST, 1 - _LEAST)
    return np.log(inside) - np.log1p(-inside)
