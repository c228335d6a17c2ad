"""A program of the tests' own: the mean brightness of each clip, scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.median import median_picture


def open_program(arrays: Mapping[str, npt.NDArray[Any]]) -> BrightnessProgram:
    return BrightnessProgram(float(arrays["level"]))


class BrightnessProgram:
    name = "numpy"

    def __init__(self, level: float) -> None:
        self.level = level

    def run(self, values: Any) -> dict[str, npt.NDArray[np.float32]]:
        clips, mask = (values["CLIP"], values["MASK"]) if isinstance(values, Mapping) else (values, None)
        grey = np.stack([median_picture(clip) for clip in clips]).mean(axis=3, dtype=np.float32) / 255
        heat = np.abs(grey - np.float32(self.level)).astype(np.float32)
        if mask is not None:
            heat[mask != 0] = 0
        scores = heat.max(axis=(1, 2))[:, None]
        return {"SCORE": scores, "FEATURES": grey.mean(axis=(1, 2))[:, None], "HEAT": heat}
