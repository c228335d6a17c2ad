"""From scores to probabilities: Platt's sigmoid, fitted on clips whose truth is known.

J. Platt, Probabilistic outputs for support vector machines, 1999: logistic regression of one number, against targets
that are a little less than certain, so that it has a fit also where the scores part the classes. The number is the
score's logit, as our models' scores are sigmoids: a model that is calibrated already gets slope 1 and shift 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError

#: A score this near 0 or 1 counts as this near.
_LEAST = 1e-6


class NoProbabilityError(UsageError, ValueError):
    """The scores cannot be made probabilities. One line."""


@dataclass(frozen=True, slots=True)
class ProbabilityOfScore:
    """P(a clip shows an incident) = 1 / (1 + exp(−(slope · logit s + shift))) for its smoothed score s.

    The share of incidents among the clips that it was fitted on is in ``shift``: where incidents are rarer, so are they
    at every score, and the odds shrink by as much as the odds of an incident do.

    Attributes:
        slope: above 0.
        shift: log-odds of a score of 0.5.
        clips, abnormal_clips: that it was fitted on.
    """

    slope: float
    shift: float
    clips: int
    abnormal_clips: int

    def __call__(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Scores in [0, 1] of any shape → float64 of that shape."""
        return np.asarray(1 / (1 + np.exp(-(self.slope * _logit(scores) + self.shift))), np.float64)


def fit(scores: npt.ArrayLike, abnormal: npt.ArrayLike) -> ProbabilityOfScore:
    """The sigmoid that fits clips.

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
            f"{positives} of {clips} clips show an incident: probabilities need clips of both kinds"
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
        raise NoProbabilityError("clips with an incident do not score higher than the others: no probability fits them")
    return ProbabilityOfScore(slope, shift, clips, positives)


def _logit(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    inside = np.clip(np.asarray(scores, np.float64), _LEAST, 1 - _LEAST)
    return np.log(inside) - np.log1p(-inside)
