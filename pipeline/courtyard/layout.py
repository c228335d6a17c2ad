"""Positions of the courtyard's parts, metres from the camera, and the differences between days."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.courtyard.view import View

FACADE_Z = 18.0
BACK_Z = 13.8  #: trees and benches stand behind it; people walk there only through the door
WALKWAY = (7.2, 9.4)  #: across the courtyard, from the first Z to the second


DOOR_X = -1.9  #: middle of the façade's door
LAMP = (4.1, 14.4)  #: X and Z of its post


@dataclass(frozen=True, slots=True)
class Day:
    """The light of one day in the courtyard.

    Attributes:
        slant: offset of a shadow from its point, X and Z, metres per metre of height.
        shade: darkness of a shadow, 0 … 1.
        light: red, green and blue as shares of plain daylight.
        noise: standard deviation of the sensor's noise, grey levels.
        clock: the wall clock at frame 0, seconds since midnight.
    """

    slant: tuple[float, float]
    shade: float
    light: tuple[float, float, float]
    noise: float
    clock: int


def view(width: int, height: int) -> View:
    """Return the courtyard's camera. Its position is fixed: another seed is another day, not another place."""
    return View(width, height, focal=1.14, mount=4.2, pitch=math.radians(22.0), aside=0.0)


def day(seed: int) -> Day:
    """Return the day of ``seed``."""
    rng = np.random.default_rng([seed, 0])
    sunny = rng.random() < 0.6
    warmth = float(rng.uniform(-0.04, 0.04))
    brightness = float(rng.uniform(0.88, 1.04) if sunny else rng.uniform(0.78, 0.92))
    return Day(
        slant=(float(rng.uniform(-1.1, 1.1)), float(rng.uniform(-0.2, 0.7))),
        shade=float(rng.uniform(0.30, 0.42) if sunny else rng.uniform(0.06, 0.14)),
        light=(brightness * (1 + warmth), brightness, brightness * (1 - warmth)),
        noise=float(rng.uniform(1.5, 3.0)),
        clock=int(rng.integers(8 * 3600, 19 * 3600)),
    )
