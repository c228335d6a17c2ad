"""The map from values to scores, at cameras where much and where little happens."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors.motion.scale import fit_scale

STILL, WALKING, RUNNING = -7.0, np.abs(np.random.default_rng(0).normal(0, 1, 4000)), 10.0


@pytest.mark.parametrize("busy", [1.0, 0.5, 0.12, 0.1, 0.05, 0.02])
def test_a_runner_is_rare_however_little_happens(busy: float) -> None:
    """At most a share of 1e-3 of the normal values reaches 10 spreads, and a still picture is usual.

    With a tail that begins at the still picture, its scale would be (7 + 0.7) / ln 2 = 11 spreads, and the runner's
    share 0.1 · exp(−17 / 11) = 0.02.
    """
    moving = WALKING[: int(4000 * busy)]
    scale = fit_scale(np.concatenate([moving, np.full(4000 - len(moving), STILL)]))
    assert scale.scores(RUNNING) > 0.5
    assert scale.scores(np.quantile(WALKING, 0.99)) < 0.5
    assert scale.scores(STILL) <= 0.25


def test_values_above_0_keep_their_scores() -> None:
    """Of 1000 values, 100 are below 0. By hand: the median of 0.01 to 9 and −1 to 0 is reached by a half."""
    values = np.concatenate([np.linspace(-1, -0.01, 100), np.arange(1, 901) / 100])
    assert fit_scale(values).decades(4.005) == pytest.approx(np.log10(2), abs=1e-3)
