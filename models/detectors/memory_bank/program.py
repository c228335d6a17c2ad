"""The program of a memory bank: from the last frame of a clip to a score and its place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detectors.memory_bank.distances import Normality, cell_distances, from_arrays
from operators.cells import picture_value
from operators.rarity import Rarity

NETWORK = "descriptors"  #: name of the network that the program runs


def open_program(arrays: Mapping[str, npt.NDArray[Any]], networks: Mapping[str, Any]) -> MemoryBankScorer:
    """Return the scorer of what was learned.

    Raises:
        KeyError, ValueError: arrays or the network are missing, or cannot be.
    """
    rarity = Rarity.from_arrays(arrays)
    return MemoryBankScorer(networks[NETWORK], from_arrays(arrays), rarity)


class MemoryBankScorer:
    """Scores clips by how far patches of their last picture are from a camera's normal ones.

    One thread at a time may use it.

    Args:
        network: of the descriptors, opened: uint8 (N, H, W, 3) → one output, float32 (N, C, h, w).
    """

    def __init__(self, network: Any, normality: Normality, rarity: Rarity) -> None:
        self.name: str = network.name
        self._network = network
        self._normality = normality
        self._rarity = rarity

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`.

        FEATURES is the mean descriptor of the picture. HEAT is each cell on the scale of SCORE: as rare as a whole
        picture of that value.
        """
        return self.judge(self.common(values["CLIP"] if isinstance(values, Mapping) else values))

    def common(self, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the descriptors of the last picture of each clip, (N, C, h, w)."""
        (descriptors,) = self._network.run(np.ascontiguousarray(clips[:, -1])).values()
        found: npt.NDArray[np.float32] = descriptors
        return found

    def judge(self, common: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.SharingScorer`."""
        # Picture by picture, so that no bit depends on the rest of the batch.
        distances = np.stack([cell_distances(self._normality, of_picture) for of_picture in common])
        return {
            "SCORE": self._rarity.scores(picture_value(distances))[:, None].astype(np.float32),
            "FEATURES": common.mean(axis=(2, 3)),
            "HEAT": self._rarity.scores(distances).astype(np.float32),
        }
