"""Dense optical flow between two pictures of a clip: DIS (T. Kroeger et al., Fast Optical Flow using Dense Inverse
Search, ECCV 2016), as OpenCV has it.

This file is copied into exported version folders, so nothing of ours is imported.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

#: Finest scale at which flow is computed: half of the picture's size. On a quarter, speeds lose much of their meaning.
_FINEST_SCALE = 1
#: Least side of a picture, pixels. With one of 8, DIS ends the process.
_LEAST_SIDE = 16


class DenseFlow:
    """DIS with its medium preset. One thread at a time may use it.

    OpenCV's own threads are off in the whole process. They would divide so small a picture into parts of well below
    a millisecond and wait for the slowest one, which takes more processor time for the same result.
    """

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(_FINEST_SCALE)

    def between(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return how far each pixel has moved: uint8 (H, W, 3) RGB, twice → float32 (H, W, 2), pixels, x and y.

        Raises:
            ValueError: a picture of less than 16 pixels a side.
        """
        if min(before.shape[:2]) < _LEAST_SIDE:
            raise ValueError(f"pictures must be at least {_LEAST_SIDE} pixels a side, got shape {before.shape}")
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
        return np.asarray(self._dis.calc(grey[0], grey[1], None), np.float32)
