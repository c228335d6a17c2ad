"""Servers, clips, consumers and listeners for the scoring client's tests."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import NoReturn

import av
import numpy as np
import pytest
from triton_of_brightness import H, Server, T, W, until, write_repository

from operators.background import SceneKind
from pipeline.scoring.outcomes import Dropped, DropReason, Scored
from pipeline.scoring.scorer import ScoredModel
from pipeline.scoring.served_model import ServedModel
from pipeline.scoring.target import Target
from pipeline.sources.base import Fit, Segment
from pipeline.windows import ClipSpec, ClipWindow


@pytest.fixture(scope="session")
def new_server(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[Callable[[], Server]]:
    """Makes servers (not started); all of them are stopped at the end."""
    if importlib.util.find_spec("pytriton") is None:
        require("tritonserver (make venv installs the wheel nvidia-pytriton)")
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server(tmp_path_factory.mktemp("triton")))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(new_server: Callable[[], Server]) -> Server:
    """One running server; a test that harms it mends it."""
    server = new_server()
    server.start()
    return server


CLIP = ClipSpec(frames=T, stride=2, height=H, width=W, fit=Fit.CROP)
MODELS = [ScoredModel("clip_scorer", CLIP)]
_MIDDLE = av.VideoFrame(32, 32, "rgb24")


def make_window(
    camera: str,
    index: int,
    *,
    live: bool = True,
    slow: int = 0,
    raises: bool = False,
    nan: bool = False,
    height: int = H,
    scene: SceneKind | None = None,
) -> ClipWindow:
    """A clip of random pixels; ``slow`` × 10 ms is its service time. A ``scene`` of that kind has random pixels too."""
    rng = np.random.default_rng(index)
    pixels = rng.integers(0, 256, (T, height, W, 3), np.uint8)
    pixels[0, 0, 0] = (slow, 255 * raises, 255 * nan)
    return ClipWindow(
        segment=Segment(f"{camera}-1", camera, live),
        index=index,
        start=float(index),
        end=index + 1.0,
        started_at=None,
        ended_at=None,
        captured_at=datetime.now(UTC),
        pixels=pixels,
        middle=_MIDDLE,
        scene=rng.integers(0, 256, (height, W, 3), np.uint8) if scene else None,
        scene_kind=scene,
    )


def expected_score(window: ClipWindow, *, with_scene: bool) -> float:
    """The score that ``brightness_model.py`` gives a clip that is sent with or without its scene."""
    shown = window.pixels.astype(float)
    if with_scene:
        assert window.scene is not None
        shown = np.abs(shown - window.scene)
    return float(shown.mean() / 255)


class Consumer:
    """Takes one camera's outcomes, and sees to it that they come from one thread at a time."""

    def __init__(self) -> None:
        self.outcomes: list[Scored | Dropped] = []
        self.overlapped = False
        self.before: Callable[[Scored | Dropped], object] = lambda outcome: None
        self._busy = threading.Lock()

    def __call__(self, outcome: Scored | Dropped) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlapped = True
            return
        try:
            self.outcomes.append(outcome)
            self.before(outcome)
        finally:
            self._busy.release()

    @property
    def scored(self) -> list[int]:
        return [outcome.window.index for outcome in self.outcomes if isinstance(outcome, Scored)]

    def dropped(self, *reasons: DropReason) -> list[int]:
        return [
            outcome.window.index
            for outcome in self.outcomes
            if isinstance(outcome, Dropped) and (not reasons or outcome.reason in reasons)
        ]

    def check(self, submitted: int) -> None:
        """Every window 0..submitted-1 exactly once, with the score that its pixels say.

        A clip with a scene may be answered by a version that reads one before the scorer knows that it does.
        """
        assert not self.overlapped
        assert sorted(outcome.window.index for outcome in self.outcomes) == list(range(submitted))
        for outcome in self.outcomes:
            if isinstance(outcome, Scored):
                kind = outcome.window.scene_kind
                may_have_scene = kind is not None and outcome.served.scene is kind
                expected = [expected_score(outcome.window, with_scene=sent) for sent in {False, may_have_scene}]
                assert any(outcome.score == pytest.approx(score, abs=1e-6) for score in expected)


class Listener:
    """Records what it is called with."""

    def __init__(self) -> None:
        self.now_in_flight = self.most_in_flight = 0
        self.said: list[str] = []  # reasons of waiting, "recovered", "late is waited for" and "late is there"
        self.said_at: list[float] = []  # monotonic
        self.exchanges: list[ServedModel] = []
        self.reconnects: list[str] = []
        self._clip_seconds = 0.0
        self._changed_at = time.monotonic()

    def in_flight(self, clips: int) -> None:
        self._clip_seconds = self.clip_seconds()
        self._changed_at = time.monotonic()
        self.now_in_flight = clips
        self.most_in_flight = max(self.most_in_flight, clips)

    def clip_seconds(self) -> float:
        """Integral of the clips in flight over time."""
        return self._clip_seconds + self.now_in_flight * (time.monotonic() - self._changed_at)

    def waiting(self, reason: str) -> None:
        self.said.append(reason)
        self.said_at.append(time.monotonic())

    def recovered(self) -> None:
        self.waiting("recovered")

    def part_waiting(self, part: Target, reason: str) -> None:
        self.waiting(f"{part.part} is waited for: {reason}")

    def part_there(self, part: Target) -> None:
        self.waiting(f"{part.part} is there")

    def reconnected(self, line: str) -> None:
        self.reconnects.append(line)

    def exchanged(self, served: ServedModel) -> None:
        self.exchanges.append(served)


@pytest.fixture
def kit() -> SimpleNamespace:
    """Helpers that the tests of this folder share (test modules cannot import each other)."""
    return SimpleNamespace(
        clip=CLIP,
        models=MODELS,
        window=make_window,
        expected_score=expected_score,
        repository=write_repository,
        Consumer=Consumer,
        Listener=Listener,
        until=until,
    )
