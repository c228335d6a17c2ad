"""The program of a motion detector: from the first and the last frame of a clip to a score and its place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.flow import DenseFlow
from operators.cells import clips_and_mask, judged
from operators.motion import RowStatistics, cell_motion
from operators.rarity import Rarity


def open_program(arrays: Mapping[str, npt.NDArray[Any]]) -> MotionScorer:
    """Return the scorer of what was learned. Raises KeyError or ValueError: arrays are missing or cannot be."""
    return MotionScorer(
        RowStatistics(arrays["centre"], arrays["spread"]),
        Rarity.from_arrays(arrays),
    )


class MotionScorer:
    """Scores clips by how fast things move in them, compared with one camera's normal footage.

    One thread at a time may use it.
    """

    name = "opencv"

    def __init__(self, rows: RowStatistics, rarity: Rarity) -> None:
        self._flow = DenseFlow()
        self._rows = rows
        self.rarity = rarity

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`."""
        clips, mask = clips_and_mask(values)
        return judged(*self.measure(clips), self.rarity, mask)

    def measure(self, clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.CellScorer`.

        The values are spreads of the cells' rows. FEATURES is the highest speed in each row, pixels a gap.
        """
        motion = np.stack([cell_motion(self._flow.between(clip[0], clip[-1])) for clip in clips])
        return self._rows.deviations(motion), motion[:, 0].max(axis=2)
