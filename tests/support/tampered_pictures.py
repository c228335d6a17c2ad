"""Pictures of a scene that never was, for the operators of tampering: uint8 (180, 320) luma."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, pairwise

import numpy as np
import numpy.typing as npt

from operators.tamper.kinds import Moment, TamperTransition
from operators.tamper.look import look_at
from operators.tamper.machine import TamperMachine

HEIGHT, WIDTH = 180, 320
Luma = npt.NDArray[np.uint8]

_calls = count()


def scene(seed: int = 0, width: int = WIDTH) -> npt.NDArray[np.float64]:
    """Return a standing picture of 150 walls, windows and posts, float64 (180, width)."""
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, width), 110.0)
    for _ in range(150 * width // WIDTH):
        top, left = int(rng.integers(0, HEIGHT - 5)), int(rng.integers(0, width - 5))
        height, across = int(rng.integers(4, 45)), int(rng.integers(4, 45))
        picture[top : top + height, left : left + across] = rng.uniform(30, 210)
    return picture


def noisy(picture: npt.NDArray[np.float64], seconds: int, *, seed: int = 1, sigma: float = 2.0) -> Iterator[Luma]:
    """Yield a picture a second, as a sensor sees it: the same noise never comes twice."""
    rng = np.random.default_rng([seed, next(_calls)])
    tile = rng.normal(0, sigma, (HEIGHT + 64, WIDTH + 64)).astype(np.float32)
    single = picture.astype(np.float32)
    for _ in range(seconds):
        down, across = rng.integers(0, 65, 2)
        yield as_luma(single + tile[down : down + HEIGHT, across : across + WIDTH])


def as_luma(picture: npt.NDArray[np.floating]) -> Luma:
    """Return the picture in the range of video."""
    return np.asarray(np.clip(picture, 16, 235), np.uint8)


def run(
    pictures: Iterable[Luma],
    machine: TamperMachine | None = None,
    *,
    start: int = 0,
    segment: str = "s",
    marked_share: float = 0.0,
) -> list[TamperTransition]:
    """Return the transitions of pictures that come a second apart."""
    machine = machine or TamperMachine("gate")
    found = []
    for second, picture in enumerate(pictures, start):
        found += machine.push(look_at(picture), Moment(segment, float(second)), marked_share)
    return found


def kinds(transitions: list[TamperTransition]) -> list[str]:
    """Return each transition as ``kind begin`` or ``kind REASON``."""
    return [f"{one.kind} {one.end_reason or 'begin'}" for one in transitions]


def alternates(transitions: list[TamperTransition]) -> bool:
    """Return whether the transitions of each kind are begin, end, begin, ..."""
    by_kind: dict[str, list[bool]] = {}
    for one in transitions:
        by_kind.setdefault(one.kind, []).append(one.end_reason is None)
    return all(states[0] and all(a != b for a, b in pairwise(states)) for states in by_kind.values())
