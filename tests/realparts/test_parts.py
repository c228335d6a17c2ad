"""A worker whose cameras are watched by their own parts of one hosting model, exchanged and rolled back under way."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import brightness_family
import pytest
from hearing import Heard
from parts_of_brightness import HOST, put, use_programs
from site_runs import BRIGHT, site, write_video
from structlog.testing import capture_logs
from triton_of_brightness import T, until

from deploy.triton.server import TritonServer
from models.serving import versions
from models.serving.export import export
from pipeline.alerts.event import AlertEvent
from pipeline.live.board import CameraState
from pipeline.live.service import Service

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

FRAMES, STRIDE = 1500, 2
SIZE = {"stride": STRIDE, "fit": "crop", "fps": None}
DARK_IS_NORMAL, BRIGHT_IS_NORMAL = 0.2, BRIGHT / 255


def test_a_live_camera_without_its_part_is_watched_by_its_others_until_it_is_there(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's recording is judged meanwhile. The first part that comes is of other clips than the site asks for."""
    use_programs(monkeypatch)
    size = {**SIZE, "fps": 10}
    put(tmp_path, "gate", DARK_IS_NORMAL, **size)
    brightness_family.train(tmp_path / "any", DARK_IS_NORMAL, camera="any", **size)
    export(str(tmp_path / "any"), tmp_path / "repository", name="any")
    video = write_video(tmp_path / "bright.mp4", [(5, BRIGHT)], size=(64, 48))
    with TritonServer(tmp_path / "repository", log=tmp_path / "triton.log") as server:
        cameras = {"gate": {"source": str(video)}, "late": {"source": "synthetic://courtyard?fps=10"}}
        detectors = {"any": {"model": "any"}, "normal": {"model": HOST, "clip": {"fps": 10}}}
        service = Service(site(tmp_path, server.grpc_address, broker, cameras, detectors=detectors))

        def state(detector: str) -> CameraState:
            return next(one for one in service.board.states if (one.camera, one.detector) == ("late", detector))

        def missing() -> float | None:
            labels = {"camera": "late", "detector": "normal"}
            return service.metrics.registry.get_sample_value("mistwatch_part_missing", labels)

        try:
            assert service.prepare(threading.Event(), patient=True)
            service.start()
            until(lambda: state("any").scored > 10)
            assert [one.name for one in service.board.states] == ["gate/any", "gate/normal", "late/any"]
            assert (missing(), service.scorer_away_seconds) == (1, 0)
            with capture_logs() as logged:
                put(tmp_path, "late", DARK_IS_NORMAL, **{**size, "fps": 5})
                until(lambda: any("trained with fps 5" in line.get("reason", "") for line in logged))
            put(tmp_path, "late", DARK_IS_NORMAL, replace=True, **size)
            scored = state("any").scored
            until(lambda: missing() == 0)
            until(lambda: state("normal").scored > 10)
            assert state("any").scored > scored
        finally:
            service.close(relay_seconds=60)


def test_a_site_starts_with_the_first_part_that_comes(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither live camera has its part at first; that of the second one comes, and the first one is waited for."""
    use_programs(monkeypatch)
    put(tmp_path, "gate", DARK_IS_NORMAL, **SIZE)  # of another site
    with TritonServer(tmp_path / "repository", log=tmp_path / "triton.log") as server:
        cameras = {camera: {"source": "synthetic://courtyard?fps=10"} for camera in ("east", "west")}
        service = Service(site(tmp_path, server.grpc_address, broker, cameras, detectors={"normal": {"model": HOST}}))
        threading.Timer(1, partial(put, tmp_path, "west", DARK_IS_NORMAL, **SIZE)).start()
        try:
            assert service.prepare(threading.Event(), patient=True)
            service.start()
            until(lambda: any(state.scored for state in service.board.states))
            assert [state.camera for state in service.board.states] == ["west"]
        finally:
            service.close(relay_seconds=60)


def test_a_worker_follows_the_parts_of_its_cameras(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two bright recordings. To the second version of the gate's part, bright is normal; the yard's stays as it is."""
    use_programs(monkeypatch)
    gate = put(tmp_path, "gate", DARK_IS_NORMAL, **SIZE)
    put(tmp_path, "yard", DARK_IS_NORMAL, **SIZE)
    video = write_video(tmp_path / "bright.mp4", [(FRAMES / 10, BRIGHT)], size=(64, 48))
    events: dict[str, list[AlertEvent]] = {"gate": [], "yard": []}
    with TritonServer(tmp_path / "repository", log=tmp_path / "triton.log") as server:
        settings = site(
            tmp_path,
            server.grpc_address,
            broker,
            {camera: {"source": str(video)} for camera in events},
            detectors={"normal": {"model": HOST}},
            alerts={"min_clips": 1, "cooldown_seconds": 0, "update_every_seconds": 1e4, "max_duration_seconds": 1e4},
        )
        heard = Heard(accepted=lambda event: events[event.subject].append(event))
        service = Service(settings, run="r", listeners=[heard])
        try:
            assert service.prepare(threading.Event(), patient=False)
            service.start()
            assert service.worker is not None
            states = {state.camera: state for state in service.board.states}
            until(lambda: events["gate"] and events["yard"] and states["gate"].scored > 50)
            put(tmp_path, "gate", BRIGHT_IS_NORMAL, **SIZE)
            until(lambda: len(events["gate"]) == 2)
            scored = states["gate"].scored
            until(lambda: states["gate"].scored > scored + 50)
            assert versions.roll_back(gate) == 1
            assert service.worker.wait(120)
        finally:
            service.close(relay_seconds=60)

    assert service.summary.clips_dropped == 0
    assert service.summary.clips_scored == 2 * ((FRAMES - T) // STRIDE + 1)
    assert [(event.data.state, event.data.end_reason) for event in events["gate"]] == [
        ("begin", None), ("end", "model_changed"), ("begin", None), ("end", "stream_end"),
    ]  # fmt: skip
    assert [event.data.end_reason for event in events["yard"]] == [None, "stream_end"]
    for event in [*events["gate"], *events["yard"]]:
        assert (event.data.model, event.data.model_version, event.data.detector) == ("bright", "1.1", "normal")
    by_version = {
        watch.camera: {scored.model_version for other, scored in heard.clips if other == watch}
        for watch, _ in heard.clips
    }
    assert by_version == {"gate": {"1.1", "1.2"}, "yard": {"1.1"}}
