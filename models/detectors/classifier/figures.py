"""Figures of classified pictures, with intervals over groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.figures.bootstrap import estimate
from operators.figures.classes import confusion, estimate_classes
from operators.figures.videos import ScoredVideo

#: Figures of the score, by the names of those of videos: each picture counts as one.
_OF_SCORES = {"video_auc": "auc", "video_recall_at_2": "recall_at_2"}


def figures_of(
    names: Sequence[str],
    truth: npt.NDArray[np.int64],
    groups: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    *,
    draws: int,
) -> dict[str, Any]:
    """Return the figures as the card has them.

    Args:
        names, truth, groups: of the pictures, (n,).
        probabilities: of the classes, (n, classes); the first class is normal.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    pictures = [
        ScoredVideo(name, int(own > 0), float(1 - of[0]), group=group)
        for name, own, group, of in zip(names, truth, groups, probabilities, strict=True)
    ]
    of_scores = estimate([pictures], names=list(_OF_SCORES), by="group", draws=draws)
    of_classes = estimate_classes(truth, predicted, groups, classes, draws=draws)
    return {
        "pictures": len(names),
        "anomalies": int((truth > 0).sum()),
        "groups": len(set(groups)),
        **{_OF_SCORES[name]: figure.summary() for name, figure in of_scores.items()},
        **{name: figure.summary() for name, figure in of_classes.items()},
        "confusion": confusion(truth, predicted, classes).tolist(),
    }
