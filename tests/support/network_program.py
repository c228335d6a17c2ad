"""A program of the tests' own with a network: the distance of each cell's mean brightness from a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def open_program(arrays: Mapping[str, npt.NDArray[Any]], networks: Mapping[str, Any]) -> NetworkProgram:
    return NetworkProgram(float(arrays["level"]), networks["cells"])


class NetworkProgram:
    def __init__(self, level: float, cells: Any) -> None:
        self.name = cells.name
        self.level = level
        self.cells = cells

    def run(self, values: Any) -> dict[str, npt.NDArray[np.float32]]:
        if isinstance(values, Mapping):
            return self.judge(self.common(values["CLIP"]), values["MASK"])
        return self.judge(self.common(values))

    def common(self, clips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        cells: npt.NDArray[np.float32] = self.cells.run(clips[:, -1])["CELLS"]
        return cells

    def judge(
        self, grey: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        heat = np.abs(grey - np.float32(self.level))
        if mask is not None:
            heat[mask != 0] = 0
        return {"SCORE": heat.max(axis=(1, 2))[:, None], "FEATURES": grey.reshape(len(grey), -1), "HEAT": heat}
