"""The program of an outlier detector: from a clip to a score, and to its place where places are compared.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detectors.outlier.judging import Judge, judge_of
from operators.cells import clips_and_mask, judged
from operators.rarity import Rarity

#: The network that the program runs, and its output.
NETWORK, DESCRIPTORS = "descriptors", "DESCRIPTORS"


def open_program(arrays: Mapping[str, npt.NDArray[Any]], networks: Mapping[str, Any]) -> PlaceScorer | PooledScorer:
    """Return the scorer of what was learned.

    Args:
        arrays: ``estimator`` and ``features`` by their names in a recipe, ``frames`` of a clip that the network takes,
            and what was learned.

    Raises:
        KeyError, ValueError: arrays or the network are missing, or cannot be.
    """
    pooled = str(arrays["features"]) == "pooled"
    judge = judge_of(str(arrays["estimator"]), arrays, pooled=pooled)
    kind = PooledScorer if pooled else PlaceScorer
    return kind(networks[NETWORK], judge, Rarity.from_arrays(arrays), frames=int(arrays["frames"]))


def describe(network: Any, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return what a backbone gives for clips, uint8 (N, T, H, W, 3) → (N, C, h, w) or (N, C).

    A network of pictures gets the last one of a clip of one frame, a network of clips all frames.
    """
    found: npt.NDArray[np.float32] = network.run(clips[:, 0] if clips.shape[1] == 1 else clips)[DESCRIPTORS]
    return found


class _Scorer(ABC):
    """One thread at a time may use it.

    Args:
        network: of the descriptors, opened.
        frames: of a clip; further ones before them are left out.
    """

    def __init__(self, network: Any, judge: Judge, rarity: Rarity, *, frames: int) -> None:
        self.name: str = network.name
        self.rarity = rarity
        self._network, self._judge, self._frames = network, judge, frames

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`."""
        clips, mask = clips_and_mask(values)
        return self.judge(self.common(clips), mask)

    def common(self, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the descriptors of the clips, (N, C, h, w) or (N, C)."""
        return describe(self._network, np.ascontiguousarray(clips[:, -self._frames :]))

    @abstractmethod
    def judge(
        self, common: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.SharingScorer`."""

    def _measured(self, described: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the values, (N, h, w), and FEATURES (N, C), the mean descriptors."""
        # Clip by clip, so that no bit depends on the rest of the batch.
        values = np.stack([self._judge.cells(one) for one in described])
        return values, described if described.ndim == 2 else described.mean(axis=(2, 3))


class PlaceScorer(_Scorer):
    """Scores clips by the strangest places of their last picture."""

    def judge(
        self, common: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.SharingScorer`."""
        return judged(*self._measured(common), self.rarity, mask)

    def measure(self, clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.CellScorer`. FEATURES is the mean descriptor of the picture."""
        return self._measured(self.common(clips))


class PooledScorer(_Scorer):
    """Scores clips by their pooled features; nothing shows where in the picture they are strange."""

    def judge(
        self, common: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.SharingScorer`. Raises ValueError: a mask."""
        if mask is not None:
            raise ValueError("pooled features have no places to ignore")
        values, features = self._measured(common)
        return {"SCORE": self.rarity.scores(values[:, :, 0]).astype(np.float32), "FEATURES": features}
