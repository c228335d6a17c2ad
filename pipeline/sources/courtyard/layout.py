"""What differs from one courtyard to the next, and where its parts are: metres from the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.sources.courtyard.view import View

FACADE_Z = 18.0
BACK_Z = 13.8  #: behind it stand trees and benches, and nobody walks there but through the door
WALKWAY = (7.6, 10.8)  #: across the courtyard, from this Z to that


@dataclass(frozen=True, slots=True)
class Layout:
    """One courtyard at one time of the day.

    Attributes:
        view: the camera.
        door_x: middle of the façade's door.
        lamp: X and Z of the lamp post.
        slant: how far a shadow lies from its point, X and Z, metres a metre of height.
        shade: how dark a shadow is, 0 … 1.
        light: red, green and blue as shares of plain daylight.
        noise: standard deviation of the sensor's noise, grey levels.
        clock: the wall clock at frame 0, seconds since midnight.
    """

    view: View
    door_x: float
    lamp: tuple[float, float]
    slant: tuple[float, float]
    shade: float
    light: tuple[float, float, float]
    noise: float
    clock: int


def lay_out(seed: int, width: int, height: int) -> Layout:
    """The courtyard of ``seed``."""
    rng = np.random.default_rng([seed, 0])
    view = View(
        width,
        height,
        focal=float(rng.uniform(1.10, 1.18)),
        mount=float(rng.uniform(4.0, 4.4)),
        pitch=math.radians(float(rng.uniform(21.0, 23.0))),
        aside=float(rng.uniform(-0.5, 0.5)),
    )
    sunny = rng.random() < 0.6
    warmth = float(rng.uniform(-0.05, 0.05))
    brightness = float(rng.uniform(0.84, 1.06) if sunny else rng.uniform(0.72, 0.92))
    return Layout(
        view,
        door_x=float(rng.uniform(-2.8, 2.8)),
        lamp=(float(rng.choice((-1, 1)) * rng.uniform(3.8, 5.2)), 14.4),
        slant=(float(rng.uniform(-1.1, 1.1)), float(rng.uniform(-0.2, 0.7))),
        shade=float(rng.uniform(0.32, 0.46) if sunny else rng.uniform(0.06, 0.14)),
        light=(brightness * (1 + warmth), brightness, brightness * (1 - warmth)),
        noise=float(rng.uniform(1.5, 3.5)),
        clock=int(rng.integers(8 * 3600, 19 * 3600)),
    )
