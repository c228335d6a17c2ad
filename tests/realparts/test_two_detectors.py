"""The committed ``fights`` and ``courtyard`` on one live camera, through one Triton."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hearing import Heard
from site_runs import site

from deploy.triton.server import TritonServer
from models.serving.export import export
from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.scoring.outcomes import Scored

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

MODELS = ("fights", "courtyard")
#: 12.5 frames a second, which is what ``courtyard`` asks for, so that both detectors keep every frame.
SCENE = "synthetic://courtyard?fps=12.5&minutes=0.5&incidents_per_minute=6&seed="
#: A threshold that everything exceeds: one alert for each camera and detector.
EVERYTHING = {"open_threshold": 1e-9, "close_threshold": 1e-9, "min_clips": 1, "kernel": 1}
IN_FLIGHT = 4
#: Clips that a camera may be ahead of another one by: one turn, and the clips in flight that may all be its own.
FAIR_WITHIN = 1 + IN_FLIGHT


@pytest.fixture(scope="module")
def both_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton that serves both models, each under its own name."""
    folder = tmp_path_factory.mktemp("both-models")
    for model in MODELS:
        export(model, folder / "repository", name=model)
    with TritonServer(folder / "repository", log=folder / "triton.log") as server:
        yield server


def test_two_detectors_on_one_live_camera(tmp_path: Path, both_models: TritonServer, broker: str) -> None:
    """Two chains and alerts of both, each frame decoded once, and as many turns as a camera with one detector.

    A new clip with every frame is more than the scorer can do: both cameras drop clips.
    """
    cameras = {
        "one": {"source": f"{SCENE}1", "detectors": ["fights"]},
        "both": {"source": f"{SCENE}2"},
    }
    triton = {"address": both_models.grpc_address, "max_in_flight": IN_FLIGHT, "deadline_seconds": 120}
    settings = site(
        tmp_path,
        both_models.grpc_address,
        broker,
        cameras,
        clip={"stride": 1},
        detectors={model: {"model": model, "alerts": EVERYTHING} for model in MODELS},
    )
    settings = settings.model_copy(update={"triton": settings.triton.model_copy(update=triton)})
    events: list[AlertEvent] = []
    heard = Heard(accepted=events.append)
    service = Service(settings, listeners=[heard])
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        assert service.worker.wait(240)
    finally:
        service.close(relay_seconds=60)

    begun = {(event.subject, event.data.detector): event.data for event in events if event.data.state == "begin"}
    assert set(begun) == {("one", "fights"), ("both", "fights"), ("both", "courtyard")}
    assert [begun["both", model].model for model in MODELS] == list(MODELS)
    assert begun["both", "fights"].alert_id != begun["both", "courtyard"].alert_id
    shapes = {watch.detector: outcome.window.pixels.shape for watch, outcome in heard.clips}
    assert shapes == {"fights": (16, 224, 224, 3), "courtyard": (16, 128, 224, 3)}

    frames, scaled = (
        {
            camera: service.metrics.registry.get_sample_value(f"mistwatch_{name}_total", {"camera": camera})
            for camera in cameras
        }
        for name in ("frames_decoded", "pictures_scaled")
    )
    (fights, courtyard) = (state for state in service.board.states if state.camera == "both")
    assert fights.frames == courtyard.frames == frames["both"] <= 0.5 * 60 * 12.5 + 1
    assert scaled == {"one": frames["one"], "both": 2 * (frames["both"] or 0)}

    dropped = {state.camera: state.dropped for state in service.board.states}
    assert min(dropped.values()) > 0, "the scorer was not overloaded"
    # At the end of a scene the clips that wait are still scored: of two detectors' queues there are twice as many.
    live = [watch for watch, outcome in heard.clips[: -3 * settings.triton.queue_clips] if isinstance(outcome, Scored)]
    scored = {camera: sum(watch.camera == camera for watch in live) for camera in cameras}
    assert min(scored.values()) > FAIR_WITHIN
    assert abs(scored["one"] - scored["both"]) <= 2 * FAIR_WITHIN, scored
