"""Clips whose times are easy to work with by hand: one a second, one second long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operators.scores import ClipScore, SmoothedScore


def _clip(index: int, score: float = 0.0, segment: str = "s", version: str = "1", model: str = "m") -> ClipScore:
    return ClipScore("cam", segment, index, float(index), index + 1.0, score, model, version)


@pytest.fixture(scope="session")
def clip() -> Callable[..., ClipScore]:
    """clip(index, score=0, segment="s", version="1"): from second ``index`` to ``index + 1``, camera "cam"."""
    return _clip


@pytest.fixture(scope="session")
def smoothed() -> Callable[..., SmoothedScore]:
    """smoothed(index, value, …): the same as a smoothed score; the raw score is 0 so that nothing can lean on it."""

    def build(index: int, value: float, segment: str = "s", version: str = "1") -> SmoothedScore:
        return SmoothedScore(_clip(index, 0.0, segment, version), value)

    return build
