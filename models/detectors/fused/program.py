"""The program of a fused detector: the maps of its members as one, its score and its place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.detectors.fused.combining import combined
from operators.cells import clips_and_mask, judged
from operators.rarity import Rarity


def open_program(
    arrays: Mapping[str, npt.NDArray[Any]], _networks: Mapping[str, Any], members: Mapping[str, Any]
) -> FusedScorer:
    """Return the scorer of what was learned.

    Args:
        arrays: ``families`` and ``frames`` of the members in their order, ``combination``, and a map to scores.
        members: opened, by their families.

    Raises:
        KeyError, ValueError: arrays or members are missing, or cannot be.
    """
    ordered = [members[str(family)] for family in arrays["families"]]
    frames = [int(number) for number in arrays["frames"]]
    return FusedScorer(Members(ordered, frames), str(arrays["combination"]), Rarity.from_arrays(arrays))


class Members:
    """The members of a detector, whose maps have one grid. One thread at a time may use them.

    Args:
        scorers: opened, see :class:`models.detectors.program.CellScorer`.
        frames: of their clips, in the same order.
    """

    def __init__(self, scorers: Sequence[Any], frames: Sequence[int]) -> None:
        self.name = ", ".join(dict.fromkeys(scorer.name for scorer in scorers))
        self.rarities: list[Rarity] = [scorer.rarity for scorer in scorers]
        self._scorers = list(zip(scorers, frames, strict=True))

    def measure(self, clips: npt.NDArray[np.uint8]) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Return each member's values of cells, (N, h, w), and FEATURES (N, D), in the last frames of the clips."""
        return [scorer.measure(clips[:, -frames:]) for scorer, frames in self._scorers]


class FusedScorer:
    """Scores clips by the maps of several detectors. One thread at a time may use it."""

    def __init__(self, members: Members, combination: str, rarity: Rarity) -> None:
        self.name = members.name
        self.rarity = rarity
        self._members = members
        self._combination = combination

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`. FEATURES are those of the members, one after another."""
        clips, mask = clips_and_mask(values)
        found = self._members.measure(clips)
        cells = combined([maps for maps, _ in found], self._members.rarities, self._combination)
        return judged(cells, np.concatenate([features for _, features in found], axis=1), self.rarity, mask)
