"""Zones and schedules of a site: on a real Triton with a model of known heat, in a run and in a replay."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import av
import numpy as np
import pytest
from replays import replay
from site_runs import DARK, FPS, site
from triton_of_brightness import Server, write_repository

from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.runs.folder import ALERTS_FILE, read_run

pytestmark = pytest.mark.realparts

MONDAY_NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ZONES: dict[str, Any] = {
    "right": {"points": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]},
    "left": {"points": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]},
    "corner": {"points": [[0, 0], [0.2, 0], [0.2, 0.2], [0, 0.2]]},  # 0.04 of 0.5: less than a fifth of the heat
    "sky": {"points": [[0, 0], [0.9, 0], [0.9, 0.1], [0, 0.1]], "ignore": True},
}
AT_NIGHT = {"timezone": "UTC", "weekdays": ["22:00-06:00"]}


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Triton whose model scores brightness; HEAT is the brightness of each quarter."""
    server = Server(tmp_path_factory.mktemp("hot"))
    write_repository(server.repository, heat="anomaly")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in which the left half is white, between two dark ones."""
    path = tmp_path_factory.mktemp("gate") / "gate.mp4"
    dark = np.full((180, 320, 3), DARK, np.uint8)
    bright = np.full((180, 320, 3), 100, np.uint8)
    bright[:, :160] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number, picture in enumerate([dark] * (3 * FPS) + [bright] * (3 * FPS) + [dark] * (3 * FPS)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("evidence", [{}, {"attention": False, "zones": False}], ids=["drawn", "not drawn"])
def test_alerts_of_a_run_have_zones_and_are_muted(
    tmp_path: Path, hot: Server, broker: str, video: Path, evidence: dict[str, bool]
) -> None:
    """Heat is asked for also where pictures show none of it."""
    camera = {"source": str(video), "start_time": MONDAY_NOON.isoformat(), "zones": ZONES, "schedule": AT_NIGHT}
    events: list[AlertEvent] = []
    service = Service(
        site(tmp_path, hot.address, broker, {"gate": camera}, evidence=evidence), run="r", published=events.append
    )
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        assert service.worker.wait(120)
    finally:
        service.close(relay_seconds=60)
    assert [event.data.state for event in events] == ["begin", "end"]
    assert events[-1].data.zones == ("left",)  # white is 1 and grey 0.39, less than half of it
    assert {event.data.outside_schedule for event in events} == {()}
    assert {event.data.muted for event in events} == {True}
    assert service.metrics.registry.get_sample_value("mistwatch_alerts_muted_total", {"camera": "gate"}) == 1
    (uri,) = events[-1].data.evidence
    with av.open(urlparse(uri).path) as opened:
        picture = next(opened.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    side = picture[100:170, 158:163]  # between the two zones, where white meets grey
    is_blue = (side[..., 2] - side[..., 0] > 50).any()
    assert is_blue == (not evidence)


def test_a_replay_names_zones_and_mutes(tmp_path: Path, hot: Server, video: Path) -> None:
    of_zone = {**ZONES, "left": {**ZONES["left"], "schedule": AT_NIGHT}}
    cameras = {
        "with": {"gate": {"source": "any", "zones": of_zone}},
        "other": {"gate": {"source": "any", "zones": ZONES}},
        "without": {"gate": {"source": "any"}},
    }
    runs, alerts = {}, {}
    for name, camera in cameras.items():
        folder = tmp_path / name
        given = {"cameras": camera, "alerts": {"min_clips": 1}}
        replay(folder, [video], hot.address, site=given, cameras=["gate"], start_time=MONDAY_NOON)
        runs[name] = read_run(folder).settings
        alerts[name] = [json.loads(line)["data"] for line in (folder / ALERTS_FILE).read_text().splitlines()]
    assert [alert["state"] for alert in alerts["with"]] == ["begin", "end"]
    assert {tuple(alert["zones"]) for alert in alerts["with"][1:]} == {("left",)}
    assert alerts["with"][-1]["outside_schedule"] == ["left"]
    assert alerts["with"][-1]["muted"] is True
    assert alerts["other"][-1]["zones"] == ["left"]
    assert "muted" not in alerts["other"][-1]
    assert not {"zones", "muted", "outside_schedule"} & set(alerts["without"][-1])
    assert len({run.run for run in runs.values()}) == 3
    assert runs["with"].cameras["gate"].zones == of_zone
    assert "zones" not in (tmp_path / "without" / "run.json").read_text()
