"""The usual picture of a camera, which tampering is measured against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.tamper.look import COLUMNS, ROWS, Floats, Look, structure

#: Footage before which nothing is judged, seconds: passers-by average out.
LEARNING_SECONDS = 60.0
#: Footage in which two thirds of a lasting change are learned, seconds: fog, dusk and moving shadows are usual by then.
#: Covering a lens by hand, cloth or paint takes seconds.
MEMORY_SECONDS = 600.0
#: Structure of a cell from which on it counts as textured, grey levels: two codec steps above flat walls.
TEXTURED = 1.5
#: Fewer textured cells than this share say nothing about a lens: the camera looks at a blank wall.
LEAST_TEXTURED = 0.04

_SLOWLY = 0.1  # share of the usual pace: a lasting change of half of the picture is learned in hours
_STILL_CONTRAST = 3.0  # spread of the cells' grey, levels, below which correlation is that of noise


class Usual:
    """Running means of a camera's grey and structure, and of how well its pictures agree with them.

    Memory: two maps of 36×64 float32. Pure and not thread-safe.
    """

    def __init__(self) -> None:
        self.grey: Floats = np.zeros((ROWS, COLUMNS), np.float32)
        self.structure: Floats = np.zeros((ROWS, COLUMNS), np.float32)
        self.learned_seconds = 0.0
        #: Mean correlation of ordinary pictures with the usual one: near 1 in an empty room, less in a crowd.
        self.agreement = 1.0

    @property
    def is_known(self) -> bool:
        """Return whether enough footage was learned to judge by it."""
        return self.learned_seconds >= LEARNING_SECONDS

    @property
    def textured(self) -> npt.NDArray[np.bool_]:
        """Cells with structure of their own: bool (36, 64)."""
        return self.structure >= TEXTURED

    @property
    def has_texture(self) -> bool:
        """Return whether there is enough structure to be missed."""
        return float(self.textured.mean()) >= LEAST_TEXTURED

    def learn(self, look: Look, step_seconds: float, *, slowly: bool = False) -> None:
        """Add a look that shows nothing suspicious.

        Args:
            slowly: it differs much, and may be the begin of something.
        """
        if step_seconds <= 0:
            return
        if self.is_known:
            compared = self.learned_seconds - LEARNING_SECONDS + step_seconds
            share = min(1.0, step_seconds / min(compared, MEMORY_SECONDS))
            self.agreement += share * (self.lighting(look.grey)[0] - self.agreement)
        # A mean while nothing is judged; from then on with the whole memory, or a new view would soon be half of it.
        memory = MEMORY_SECONDS if self.is_known else self.learned_seconds + step_seconds
        self.learned_seconds += step_seconds
        weight = np.float32(min(1.0, step_seconds / memory) * (_SLOWLY if slowly else 1.0))
        self.grey += weight * (look.grey - self.grey)
        self.structure += weight * (structure(look.detail) - self.structure)

    def forget(self) -> None:
        """Begin to learn again."""
        self.learned_seconds = 0.0
        self.agreement = 1.0

    def lighting(self, grey: Floats) -> tuple[float, float]:
        """Compare a picture's light with the usual.

        Returns:
            the correlation of the cells' grey, -1 to 1, and the contrast as a multiple of the usual one. Without
            contrast in either, the correlation is 0.
        """
        usual, now = self.grey - self.grey.mean(), grey - grey.mean()
        spread, spread_now = float(usual.std()), float(now.std())
        if spread < _STILL_CONTRAST or spread_now <= 0:
            return 0.0, 1.0
        covariance = float((usual * now).mean())
        return covariance / (spread * spread_now), covariance / spread**2
