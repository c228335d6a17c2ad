"""Servers for the tests of whole runs (a Triton with a model of known scores, and a broker), and events to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from triton_of_brightness import Server, write_repository

from deploy.broker.server import BrokerServer
from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, event_from


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Triton; who needs one that dies starts its own."""
    server = Server(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def three_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Triton with the models ``small`` (clips of 4 × 16 × 16, stride 2), ``slow`` and ``large``."""
    models = {
        "small": {"name": "small_mean"},
        "slow": {"name": "slow_mean", "clip_fps": "5"},
        "large": {"name": "large_mean", "clip_height": "32", "clip_width": "24", "clip_stride": "4"},
    }
    server = Server(tmp_path_factory.mktemp("three-models"))
    for model, parameters in models.items():
        write_repository(server.repository, model, **parameters)
    server.start()
    for model in models:
        server.load(model)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running broker's bootstrap address; each test takes a topic of its own."""
    with BrokerServer(tmp_path_factory.mktemp("broker")) as server:
        yield server.bootstrap


@pytest.fixture
def make_event() -> Callable[..., AlertEvent]:
    """Makes the event of a camera's only alert with this sequence number: a begin for 0, then updates."""

    def make(camera: str, sequence: int, *, replay: bool = False, padding: int = 0) -> AlertEvent:
        now = datetime.now(UTC)
        times = ClipTimes(now, now, now, now, time.monotonic())

        def clip(index: int) -> ClipScore:
            return ClipScore(camera, "segment", index, 0.64 * index, 0.64 * (index + 1), 0.75, "m", "1", times)

        peak = SmoothedScore(clip(0), 0.75)
        state = AlertState.BEGIN if sequence == 0 else AlertState.UPDATE
        newest = SmoothedScore(clip(sequence), 0.5)
        transition = AlertTransition(
            state, camera, "segment", sequence, peak.clip, newest.clip, peak, 0.6, (newest,), None
        )
        return event_from(transition, site="yard", run="", evidence=["x" * padding], replay=replay)

    return make


@pytest.fixture
def make_end(make_event: Callable[..., AlertEvent]) -> Callable[[str, int], AlertEvent]:
    """Makes the end of a camera's only alert with this sequence number; see ``make_event``."""

    def make(camera: str, sequence: int) -> AlertEvent:
        event = make_event(camera, sequence)
        data = event.data.model_copy(
            update={"state": AlertState.END, "end_reason": "below_threshold", "ended_pts_seconds": 10.0}
        )
        return event.model_copy(update={"type": "mistwatch.alert.end", "data": data})

    return make


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits for a condition; fails after ``timeout`` seconds, saying for what."""

    def wait(condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            time.sleep(0.02)

    return wait
