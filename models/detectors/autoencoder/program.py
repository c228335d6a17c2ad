"""The program of an autoencoder: from a clip to a score and its place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detectors.autoencoder.normal_errors import NormalErrors
from models.engines.one_by_one import Network
from operators.cells import clips_and_mask, judged
from operators.rarity import Rarity

#: The network that the program runs, its input and its outputs.
NETWORK, CLIP = "autoencoder", "CLIP"
ERRORS, CODE = "ERRORS", "CODE"


def open_program(arrays: Mapping[str, npt.NDArray[Any]], networks: Mapping[str, Network]) -> AutoencoderScorer:
    """Return the scorer of what was learned. Raises KeyError or ValueError: arrays are missing or cannot be."""
    return AutoencoderScorer(
        networks[NETWORK], NormalErrors(arrays["centre"], arrays["spread"]), Rarity.from_arrays(arrays)
    )


class AutoencoderScorer:
    """Scores clips by how badly they are reconstructed. One thread at a time may use it.

    Args:
        network: opened: uint8 (N, T, H, W, 3) → :data:`ERRORS`, (N, K, h, w), and :data:`CODE`, (N, D).
    """

    def __init__(self, network: Network, normal: NormalErrors, rarity: Rarity) -> None:
        self.name = network.name
        self._network = network
        self._normal = normal
        self.rarity = rarity

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`."""
        clips, mask = clips_and_mask(values)
        return judged(*self.measure(clips), self.rarity, mask)

    def measure(self, clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.CellScorer`.

        The values are spreads of the errors. FEATURES is the mean code of the clip.
        """
        found = self._network.run(np.ascontiguousarray(clips))
        return self._normal.strangeness(found[ERRORS]), found[CODE]
