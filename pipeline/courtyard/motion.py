"""Paths of people: walked at a pace, with stops, as positions over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.courtyard.view import Floats

RATE = 10  #: samples a second; positions between them are interpolated linearly
_CORNER_SECONDS = 0.5  # people do not turn or stop instantly


@dataclass(frozen=True, slots=True)
class Go:
    """Go to a place at a speed (m/s)."""

    x: float
    z: float
    speed: float


@dataclass(frozen=True, slots=True)
class Stay:
    """Stand for some seconds, looking along ``facing`` (radians), or in the previous direction if None."""

    seconds: float
    facing: float | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """Positions of a person from ``start`` to ``end`` (seconds): rows of x, z, heading, phase, speed."""

    start: float
    rows: Floats

    @property
    def end(self) -> float:
        return self.start + (len(self.rows) - 1) / RATE

    def at(self, seconds: float) -> tuple[float, float, float, float, float]:
        """Return x, z, heading, phase of the gait and speed at a time within the track."""
        place = min(max((seconds - self.start) * RATE, 0.0), len(self.rows) - 1.0)
        index = min(int(place), len(self.rows) - 2)
        part = place - index
        x, z, heading, phase, speed = ((1 - part) * self.rows[index] + part * self.rows[index + 1]).tolist()
        return x, z, heading, phase, speed


def seconds_of(start: tuple[float, float], steps: Sequence[Go | Stay]) -> float:
    """Return the seconds that the steps take from ``start``."""
    total, (x, z) = 0.0, start
    for step in steps:
        if isinstance(step, Stay):
            total += step.seconds
        else:
            total += math.hypot(step.x - x, step.z - z) / step.speed
            x, z = step.x, step.z
    return total


def track(begin: float, start: tuple[float, float], steps: Sequence[Go | Stay], phase: float = 0.0) -> Track:
    """Return the track of a person who is at ``start`` at time ``begin`` and then takes ``steps``."""
    times, places, facings = [0.0], [start], [(0.0, 0.0, math.nan)]
    for step in steps:
        now, (x, z) = times[-1], places[-1]
        if isinstance(step, Stay):
            times.append(now + step.seconds)
            places.append((x, z))
            if step.facing is not None:
                facings.append((now, now + step.seconds, step.facing))
        else:
            times.append(now + max(math.hypot(step.x - x, step.z - z) / step.speed, 1e-3))
            places.append((step.x, step.z))
    count = max(2, math.ceil(times[-1] * RATE) + 1)
    clock = np.arange(count) / RATE
    xs = _smooth(np.interp(clock, times, [x for x, _ in places]))
    zs = _smooth(np.interp(clock, times, [z for _, z in places]))
    dx, dz = np.gradient(xs) * RATE, np.gradient(zs) * RATE
    speed = np.hypot(dx, dz)

    heading = np.arctan2(dx, dz)
    moving = speed > 0.25
    if not moving.any():
        heading[:] = 0.0
    else:  # a standing person looks in the last direction of motion; before the first step, in the coming one
        last = np.maximum.accumulate(np.where(moving, np.arange(count), -1))
        heading = heading[np.where(last < 0, int(np.argmax(moving)), last)]
    for begins, ends, facing in facings[1:]:
        heading[(clock > begins) & (clock < ends)] = facing
    heading = _smooth(np.unwrap(heading))
    # Steps get longer with speed: two steps cover 0.7 m + 0.55 s · speed.
    turns = np.cumsum(speed / (0.7 + 0.55 * speed)) / RATE
    return Track(begin, np.stack([xs, zs, heading, phase + 2 * math.pi * turns, speed], axis=1))


def _smooth(values: Floats) -> Floats:
    window = max(1, round(_CORNER_SECONDS * RATE))
    padded = np.pad(values, (window // 2, window - 1 - window // 2), mode="edge")
    return np.convolve(padded, np.ones(window) / window, mode="valid")
