"""The map from the values of pictures to scores, fitted to held-back normal footage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.rarity import Rarity, fit_rarity

#: Least scale of the tail of values, in spreads of the rows.
_LEAST_SCALE = 0.1


def fit_scale(values: npt.NDArray[np.floating]) -> Rarity:
    """Fit the map to values of pictures, (n,), in spreads of the rows.

    Values below 0 count as 0: all that moves is slower than usual, or nothing moves. At a camera where little happens
    the tail would otherwise begin at a still picture, and be as wide as the way from there to things that walk. A
    runner would then be as usual as they are.

    Raises:
        ValueError: fewer than 20 values, or values that are not finite.
    """
    return fit_rarity(np.maximum(values, 0), least_scale=_LEAST_SCALE)
