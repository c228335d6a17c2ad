"""The worker on a real Triton with a model of known scores (a clip's brightness), real video files, a real outbox."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import av
import numpy as np
import pytest
from ports import free_port
from site_runs import BRIGHT, DARK, FPS, read_until, site, start_run, wait_for_metric, write_site, write_video
from triton_of_brightness import Server

from deploy.broker.server import BrokerServer
from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.settings import Site
from pipeline.sources.base import SourceError

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

KERNEL, THRESHOLD, CLIP_FRAMES, STRIDE = 3, 0.5, 4, 2  # what the served model says of itself


def brightness_of(seconds: list[tuple[float, int]]) -> np.ndarray:
    return np.concatenate([np.full(round(duration * FPS), value / 255) for duration, value in seconds])


def expected_alert(seconds: list[tuple[float, int]]) -> tuple[float, float]:
    """Start PTS of the first clip at or above the threshold, and of the clip that closes the alert, reckoned apart."""
    frames = brightness_of(seconds)
    scores = [frames[i : i + CLIP_FRAMES].mean() for i in range(0, len(frames) - CLIP_FRAMES + 1, STRIDE)]
    smoothed = [np.mean(scores[max(0, i - KERNEL + 1) : i + 1]) for i in range(len(scores))]
    opened = next(i for i, value in enumerate(smoothed) if value >= THRESHOLD)
    closed = next(i for i, value in enumerate(smoothed) if i > opened and value < 0.8 * THRESHOLD)
    return opened * STRIDE / FPS, closed * STRIDE / FPS


def run_to_the_end(settings: Site) -> tuple[Service, list[AlertEvent]]:
    events: list[AlertEvent] = []
    service = Service(settings, run="r", published=events.append)
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        assert service.worker.wait(120)
    finally:
        left = service.close(relay_seconds=60)
    assert left == 0
    return service, events


def test_a_bright_stretch_is_one_alert_at_the_right_time_with_a_picture_of_it(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    scene = [(3.0, DARK), (3.0, BRIGHT), (3.0, DARK)]
    video = write_video(tmp_path / "scene.mp4", scene)
    service, events = run_to_the_end(site(tmp_path, triton.address, broker, {"cam": {"source": str(video)}}))

    assert [event.data.state for event in events] == ["begin", "end"]
    opened, closed = expected_alert(scene)
    begin, end = events
    assert begin.data.started_pts_seconds == pytest.approx(opened, abs=1e-6)
    assert end.data.ended_pts_seconds == pytest.approx(closed + CLIP_FRAMES / FPS, abs=1e-6)
    assert end.data.end_reason == "below_threshold"
    assert end.data.peak.smoothed_score == pytest.approx(BRIGHT / 255, abs=0.01)
    assert begin.data.threshold == THRESHOLD
    assert begin.data.replay
    assert begin.data.captured_at is None

    (uri,) = end.data.evidence
    with av.open(urlparse(uri).path) as picture:
        frame = next(picture.decode(video=0))
    assert (frame.width, frame.height) == (320, 180)  # the camera's size, not the clip's
    assert frame.to_ndarray(format="rgb24").mean() == pytest.approx(BRIGHT, abs=4)
    clips = (90 - CLIP_FRAMES) // STRIDE + 1
    assert service.summary.clips_scored == clips
    assert service.summary.clips_dropped == 0
    assert service.metrics.registry.get_sample_value("mistwatch_frames_decoded_total", {"camera": "cam"}) == 90
    assert service.metrics.registry.get_sample_value("mistwatch_clips_scored_total", {"camera": "cam"}) == clips
    assert service.metrics.registry.get_sample_value("mistwatch_outbox_depth") == 0


def test_an_alert_open_at_the_end_of_a_recording_ends_with_it(tmp_path: Path, triton: Server, broker: str) -> None:
    video = write_video(tmp_path / "scene.mp4", [(2.0, DARK), (2.0, BRIGHT)])
    _, events = run_to_the_end(site(tmp_path, triton.address, broker, {"cam": {"source": str(video)}}))
    assert events[-1].data.state == "end"
    assert events[-1].data.end_reason == "stream_end"


def test_two_runs_give_the_same_alerts_but_for_the_places_of_pictures_and_films(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT), (2.0, DARK)])

    def documents(folder: Path) -> list[Any]:
        folder.mkdir()
        _, events = run_to_the_end(site(folder, triton.address, broker, {"cam": {"source": str(video)}}))
        told = [json.loads(event.to_json()) for event in events]
        for document in told:
            assert document["data"].pop("evidence")
            if (film := document["data"].get("film")) is not None:
                assert {film.pop("uri")[:5], film.pop("notes")[:5]} == {"file:"}
        return told

    first = documents(tmp_path / "one")
    assert first
    assert first == documents(tmp_path / "two")


def test_a_broken_and_a_missing_camera_do_not_disturb_the_others(tmp_path: Path, triton: Server, broker: str) -> None:
    scene = [(1.0, DARK), (2.0, BRIGHT), (2.0, DARK)]
    whole = write_video(tmp_path / "whole.mp4", scene)
    cameras = {
        "good": {"source": str(whole)},
        "away": {"source": "rtsp://127.0.0.1:9/none"},  # the discard port: nobody listens
    }
    events: list[AlertEvent] = []
    service = Service(site(tmp_path, triton.address, broker, cameras), run="r", published=events.append)
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        good, away = service.board.states
        limit = time.monotonic() + 120
        while good.shown != "done" or away.condition.reason != "refused":
            assert time.monotonic() < limit, (good, away)
            time.sleep(0.05)
        assert not service.worker.wait(0.1)  # the live camera is still waited for
    finally:
        service.close(relay_seconds=60)
    assert [event.data.state for event in events] == ["begin", "end"]
    assert {event.subject for event in events} == {"good"}
    reconnects = service.metrics.registry.get_sample_value(
        "mistwatch_reconnects_total", {"camera": "away", "reason": "refused"}
    )
    assert reconnects is not None
    assert reconnects >= 1


def test_a_camera_can_have_a_threshold_of_its_own(tmp_path: Path, triton: Server, broker: str) -> None:
    video = write_video(tmp_path / "scene.mp4", [(2.0, DARK), (3.0, 150), (2.0, DARK)])  # 150 / 255 = 0.59
    cameras = {
        "keen": {"source": str(video)},
        "calm": {"source": str(video), "alerts": {"open_threshold": 0.7}},
    }
    _, events = run_to_the_end(site(tmp_path, triton.address, broker, cameras))
    assert {event.subject for event in events} == {"keen"}


def test_a_missing_recording_is_refused_before_anything_runs(tmp_path: Path, triton: Server, broker: str) -> None:
    settings = site(tmp_path, triton.address, broker, {"cam": {"source": str(tmp_path / "nowhere.mp4")}})
    service = Service(settings, run="r")
    try:
        with pytest.raises(SourceError, match=r"nowhere\.mp4") as caught:
            service.prepare(threading.Event(), patient=False)
    finally:
        service.close()
    assert caught.value.code == "not_found"


def test_run_waits_for_triton_and_broker_and_goes_on_when_they_are_there(tmp_path: Path) -> None:
    server = Server(tmp_path / "triton-server")
    server.start()
    address = server.address
    server.stop()
    port = free_port()
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (2.0, BRIGHT), (2.0, DARK)])
    config = write_site(tmp_path, address, f"127.0.0.1:{port}", f"  cam: {{source: '{video}'}}\n")
    process = start_run(config)
    try:
        said = read_until(process, "waiting for the sink")
        if "waiting for the scorer" not in said:
            read_until(process, "waiting for the scorer")
        server.start()
        read_until(process, "the scorer is there")
        with BrokerServer(tmp_path / "late-broker", port=port):
            output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        server.stop()
    assert process.returncode == 0, errors
    *events, summary = [json.loads(line) for line in output.splitlines()]
    assert [event["type"] for event in events] == ["mistwatch.alert.begin", "mistwatch.alert.end"]
    assert summary["type"] == "summary"
    assert summary["alerts"] == 1
    assert summary["clips_dropped"] == 0
    assert "Traceback" not in errors


def test_sigterm_ends_run_and_keeps_what_was_accepted(tmp_path: Path, triton: Server) -> None:
    """The broker is away the whole time: the alert must be in the outbox afterwards, ended by the shutdown."""
    video = write_video(tmp_path / "scene.mp4", [(1.0, DARK), (4.0, BRIGHT)])
    cameras = f"  cam: {{source: '{video}'}}\n  away: {{source: 'rtsp://127.0.0.1:9/none'}}\n"
    port = free_port()
    process = start_run(write_site(tmp_path, triton.address, f"127.0.0.1:{free_port()}", cameras, port))
    try:
        wait_for_metric(process, port, "mistwatch_outbox_depth", 2)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        output, errors = process.communicate(timeout=90)
        took = time.monotonic() - began
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert took < 25  # its limits sum to less than 10 s; beyond them a busy machine takes its time
    summary = json.loads(output.splitlines()[-1])
    assert summary["alerts"] == 1
    assert "2 alert event(s) are not on the topic yet" in errors
    assert "Traceback" not in errors
    # The same site starts again with a broker: what was accepted reaches the topic.
    with BrokerServer(tmp_path / "late-broker") as late:
        settings = site(tmp_path, triton.address, late.bootstrap, {"cam": {"source": str(video)}})
        events: list[AlertEvent] = []
        service = Service(settings, run="later", published=events.append)
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        limit = time.monotonic() + 90
        while len(events) < 2 and time.monotonic() < limit:
            time.sleep(0.05)
        service.close(relay_seconds=60)
    assert [event.data.state for event in events][:2] == ["begin", "end"]
    assert events[0].data.run != "later"
