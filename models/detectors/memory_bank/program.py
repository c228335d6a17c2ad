"""The program of a memory bank: from the last frame of a clip to a score and its place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detectors.memory_bank.distances import Normality, cell_distances, from_arrays
from operators.cells import clips_and_mask, judged
from operators.rarity import Rarity

#: The network that the program runs, and its output.
NETWORK, DESCRIPTORS = "descriptors", "DESCRIPTORS"


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
        network: of the descriptors, opened: uint8 (N, H, W, 3) → :data:`DESCRIPTORS`, float32 (N, C, h, w).
    """

    def __init__(self, network: Any, normality: Normality, rarity: Rarity) -> None:
        self.name: str = network.name
        self._network = network
        self._normality = normality
        self.rarity = rarity

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`."""
        clips, mask = clips_and_mask(values)
        return self.judge(self.common(clips), mask)

    def common(self, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the descriptors of the last picture of each clip, (N, C, h, w)."""
        descriptors: npt.NDArray[np.float32] = self._network.run(np.ascontiguousarray(clips[:, -1]))[DESCRIPTORS]
        return descriptors

    def judge(
        self, common: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.SharingScorer`."""
        return judged(*self._measured(common), self.rarity, mask)

    def measure(self, clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.CellScorer`.

        The values are distances. FEATURES is the mean descriptor of the picture.
        """
        return self._measured(self.common(clips))

    def _measured(
        self, descriptors: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        # Picture by picture, so that no bit depends on the rest of the batch.
        distances = np.stack([cell_distances(self._normality, of_picture) for of_picture in descriptors])
        return distances, descriptors.mean(axis=(2, 3))
