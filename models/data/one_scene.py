"""A check that footage shows one scene: a camera that was turned, or a second camera, is found by its edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.data.normal_footage import FootageError, PlacedClip, clock

#: Least correlation of the edges of two pieces. Measured once, by hand: 0.84 and more within Ped2, 0.9 and more within
#: vtest.avi; 0.21 to 0.96 where cars fill half of the picture for a whole piece; −0.08 to 0.04 between two cameras.
LEAST_LIKENESS = 0.2
#: Less contrast than this, in levels of 255, is a covered lens or a picture without a signal.
_LEAST_CONTRAST = 2.0
#: Pixels of a side that become one.
_SHRINK = 4

Scene = npt.NDArray[np.float32]


class OneScene:
    """Compares the standing scene of each piece of a camera's footage with that of the first one.

    The first one is of the earlier part where the footage has one. The rest of that part has been checked before.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._piece = -1
        self._start = 0.0
        self._pictures: list[Scene] = []
        self._first: Scene | None = None
        self._first_is = "at its start"

    def add(self, clip: PlacedClip) -> None:
        """Take the next clip of a sample of the footage; a small picture of each is held until its piece is over.

        Raises:
            FootageError: the piece before it shows nothing, or another scene.
        """
        if clip.piece != self._piece:
            self.finish()
            self._piece, self._start = clip.piece, clip.start
        self._pictures.append(_small(clip.window.pixels[-1]))

    def finish(self) -> None:
        """Check the last piece. Raises FootageError, see :meth:`add`."""
        if not self._pictures:
            return
        scene = np.median(self._pictures, axis=0).astype(np.float32)
        self._pictures = []
        if self._piece < 0 and self._first is not None:
            return
        if scene.std() < _LEAST_CONTRAST:
            raise FootageError(
                f"camera {self._camera}: the footage at {clock(self._start)} shows nothing (contrast {scene.std():.1f} "
                f"of 255; expected at least {_LEAST_CONTRAST:g}): a black picture or a covered lens; leave that part "
                "out with --exclude"
            )
        edges = _edges(scene)
        if self._first is None:
            self._first = edges
            if self._piece < 0:
                self._first_is = "the footage learned before"
        likeness = float((edges * self._first).mean())
        if likeness < LEAST_LIKENESS:
            raise FootageError(
                f"camera {self._camera}: the footage at {clock(self._start)} shows another scene than {self._first_is} "
                f"(likeness {likeness:.2f}; expected at least {LEAST_LIKENESS:g}): the camera was moved, or these are "
                "two cameras; use the footage of one view, or leave that part out with --exclude"
            )


def _small(picture: npt.NDArray[np.uint8]) -> Scene:
    """uint8 (H, W, 3) → grey levels, (H / 4, W / 4)."""
    height, width = (size // _SHRINK for size in picture.shape[:2])
    grey = picture[: height * _SHRINK, : width * _SHRINK].mean(axis=2, dtype=np.float32)
    small: Scene = grey.reshape(height, _SHRINK, width, _SHRINK).mean(axis=(1, 3))
    return small


def _edges(scene: Scene) -> Scene:
    """Return the strength of the edges, of mean 0 and spread 1: the mean product of two is their correlation."""
    down, across = np.gradient(scene)
    # The root: a few strong edges would decide alone.
    strength = np.sqrt(np.hypot(down, across))
    even: Scene = (strength - strength.mean()) / (strength.std() + np.float32(1e-6))
    return even
