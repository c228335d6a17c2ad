"""Where the courtyard's camera hangs, and where in its picture a point of the world lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera. The world: X to the right, Y up, Z away from the camera along the ground; metres.

    Attributes:
        width, height: of the picture, pixels.
        focal: focal length, in widths of the picture.
        mount: height of the camera above the ground, m.
        pitch: how far it looks down, radians.
        aside: where it hangs along X, m.
    """

    width: int
    height: int
    focal: float
    mount: float
    pitch: float
    aside: float

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels (N, 2) and pixels per metre (N,) of world points (N, 3)."""
        x, y, z = points[:, 0] - self.aside, points[:, 1] - self.mount, points[:, 2]
        down, along = math.sin(self.pitch), math.cos(self.pitch)
        depth = np.maximum(z * along - y * down, 0.5)  # nothing of the scene stands nearer
        rise = y * along + z * down
        scale = self.focal * self.width / depth
        return np.stack([self.width / 2 + x * scale, self.height / 2 - rise * scale], axis=1), scale

    def half_width(self, z: float) -> float:
        """How far to each side of the picture's middle the ground is seen at distance ``z``, m."""
        depth = z * math.cos(self.pitch) + self.mount * math.sin(self.pitch)
        return depth / (2 * self.focal)
