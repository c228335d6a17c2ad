"""Detectors that are programs: they compute with numpy and OpenCV, without a network."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Scorer(Protocol):
    """An opened program. One thread at a time may use it.

    Attributes:
        name: the library that computes, for the log.
    """

    name: str

    def run(
        self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]
    ) -> Mapping[str, npt.NDArray[np.float32]]:
        """Clips, uint8 (N, T, H, W, 3) RGB → SCORE (N, 1) in [0, 1], FEATURES (N, D) and optionally HEAT (N, h, w).

        No value of a clip depends on the other clips of its batch.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServedProgram:
    """A program as it is served: its modules are copied into the version folder, beside what it has learned.

    Attributes:
        module: full name of the module whose function ``open_program(arrays)`` returns the :class:`Scorer`. It and
            ``uses`` import nothing of ours but one another.
        uses: full names of further modules that it imports.
        arrays: what it has learned, by names; no objects.
    """

    module: str
    uses: tuple[str, ...]
    arrays: Mapping[str, npt.NDArray[Any]]

    def open(self) -> Scorer:
        """Return the scorer. Raises ImportError: a library that it needs is missing."""
        scorer: Scorer = importlib.import_module(self.module).open_program(self.arrays)
        return scorer
