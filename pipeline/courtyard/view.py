"""The courtyard's camera: its position, and the projection of points of the world into its picture."""

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
        pitch: downward tilt, radians.
        aside: position along X, m.
    """

    width: int
    height: int
    focal: float
    mount: float
    pitch: float
    aside: float

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return pixels (N, 2) and pixels per metre (N,) of world points (N, 3)."""
        x, y, z = points[:, 0] - self.aside, points[:, 1] - self.mount, points[:, 2]
        down, along = math.sin(self.pitch), math.cos(self.pitch)
        depth = np.maximum(z * along - y * down, 0.5)  # the scene has no nearer points
        rise = y * along + z * down
        scale = self.focal * self.width / depth
        return np.stack([self.width / 2 + x * scale, self.height / 2 - rise * scale], axis=1), scale

    def half_width(self, z: float) -> float:
        """Return half the width of the visible ground at distance ``z``, m."""
        depth = z * math.cos(self.pitch) + self.mount * math.sin(self.pitch)
        return depth / (2 * self.focal)
