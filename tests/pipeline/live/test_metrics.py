"""The metrics as a Prometheus server reads them."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import numpy as np
import pytest
from alike_alerts import at, judged
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from scripted_sink import ScriptedServer
from site_runs import site

from operators.alerting import AlertSettings
from operators.background import SceneKind
from operators.chain import ChainSettings
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.live.listener import Watch
from pipeline.live.metrics import Metrics, MetricsError, MetricsListener, Stage
from pipeline.live.service import Service
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sinks import SINKS, SinkKind
from pipeline.sinks.base import Verdict
from pipeline.sources.base import Frame, FrameSpec, Segment
from pipeline.windows import ClipSpec, ClipWindow

CAPTURED_AT = datetime(2026, 3, 1, tzinfo=UTC)
PLAIN = ServedModel("m", "1", ClipSpec(1, 1, 2, 2))


def test_a_scrape_shows_what_was_counted() -> None:
    metrics = Metrics()
    metrics.clips_dropped.labels("gate", "overload").inc(3)
    metrics.clips_dropped.labels("監視カメラ", "overload").inc(4)
    server = metrics.serve("127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
    finally:
        server.close()
    assert 'mistwatch_clips_dropped_total{camera="gate",reason="overload"} 3.0' in text
    assert 'mistwatch_clips_dropped_total{camera="監視カメラ",reason="overload"} 4.0' in text


@given(times=st.lists(st.floats(-1e6, 1e6) | st.sampled_from([float("nan"), -0.0]), min_size=1, max_size=30))
def test_delays_are_never_below_0(times: list[float]) -> None:
    """Whatever two clocks say: the sum of a histogram grows, and the others are counted."""
    metrics = Metrics()
    watch = Watch("gate", "")
    histogram = metrics.capture_to_score.labels("gate")
    before = 0.0
    for seconds in times:
        metrics.observe_time(histogram, seconds)
        metrics.observe_stage(Stage.QUEUE, watch, seconds)
        value = metrics.registry.get_sample_value("mistwatch_capture_to_score_seconds_sum", {"camera": "gate"})
        assert value is not None
        assert value >= before
        before = value
    wrong = sum(not seconds >= 0 for seconds in times)
    assert metrics.registry.get_sample_value("mistwatch_negative_times_total") == 2 * wrong
    assert metrics.registry.get_sample_value("mistwatch_stage_seconds_count", {"stage": "queue"}) == len(times)


def test_a_judgement_is_not_of_a_camera() -> None:
    metrics = Metrics(detectors=True)
    listener = MetricsListener(metrics)
    listener.published(judged(UUID(int=1), "normal", at(0), camera="gate"), 0.5, 0.1)
    assert '"gate"' not in generate_latest(metrics.registry).decode()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MetricsError, match=rf"127\.0\.0\.1:{port} cannot be listened on"):
            Metrics().serve("127.0.0.1", port)


def test_a_site_without_detectors_has_no_label_for_them() -> None:
    plain, labelled = Metrics(), Metrics(detectors=True)
    for metrics in (plain, labelled):
        watch = Watch("gate", "" if metrics is plain else "fights")
        metrics.clips_scored.labels(*metrics.labels_of(watch)).inc()
        metrics.clips_dropped.labels(*metrics.labels_of(watch), "overload").inc()
        metrics.frames_decoded.labels("gate").inc()
    text = generate_latest(plain.registry).decode()
    assert 'mistwatch_clips_scored_total{camera="gate"} 1.0' in text
    assert "detector" not in text
    text = generate_latest(labelled.registry).decode()
    assert 'mistwatch_clips_scored_total{camera="gate",detector="fights"} 1.0' in text
    assert 'mistwatch_clips_dropped_total{camera="gate",detector="fights",reason="overload"} 1.0' in text
    assert 'mistwatch_frames_decoded_total{camera="gate"} 1.0' in text


def test_frames_of_a_camera_that_was_removed_and_added_again_are_counted_anew() -> None:
    metrics = Metrics()
    listener = MetricsListener(metrics)
    image = np.zeros((2, 2, 3), np.uint8)
    now = datetime.now(UTC)
    frame = Frame(
        Segment("gate/1/0", "gate", live=True), 0.0, now, now, {FrameSpec(2, 2): image, FrameSpec(2, 2, fps=5): image},
        av.VideoFrame(2, 2, "rgb24"),
    )  # fmt: skip
    listener.camera_added("gate", [Watch("gate")], live=True)
    for _ in range(3):
        listener.frame("gate", frame)
    assert metrics.registry.get_sample_value("mistwatch_frames_decoded_total", {"camera": "gate"}) == 3
    listener.camera_removed("gate")
    assert metrics.registry.get_sample_value("mistwatch_frames_decoded_total", {"camera": "gate"}) is None
    listener.camera_added("gate", [Watch("gate")], live=True)
    listener.frame("gate", frame)
    assert metrics.registry.get_sample_value("mistwatch_frames_decoded_total", {"camera": "gate"}) == 1
    assert metrics.registry.get_sample_value("mistwatch_pictures_scaled_total", {"camera": "gate"}) == 1


def window(**options: Any) -> ClipWindow:
    """A clip of one black picture of a live camera."""
    return ClipWindow(
        Segment("gate/1/0", "gate", live=True), 0, 0.0, 0.64, CAPTURED_AT, CAPTURED_AT, CAPTURED_AT,
        np.zeros((1, 2, 2, 3), np.uint8), av.VideoFrame(2, 2, "rgb24"), **options,
    )  # fmt: skip


@pytest.mark.parametrize("set_by", [timedelta(hours=-1), timedelta(days=20_000)])
def test_delays_do_not_follow_a_wall_clock_that_is_set(set_by: timedelta) -> None:
    metrics = Metrics()
    listener = MetricsListener(metrics)
    now = time.monotonic()
    scored = Scored(window(captured_monotonic=now), 0.5, PLAIN, CAPTURED_AT + set_by, scored_monotonic=now + 0.25)
    listener.scored(Watch("gate"), scored)
    total = metrics.registry.get_sample_value("mistwatch_capture_to_score_seconds_sum", {"camera": "gate"})
    assert total == pytest.approx(0.25)


def test_the_stages_of_a_clip_and_of_its_event_add_up(make_event: Callable[..., Any]) -> None:
    """A first frame 2 s ago, the last one 1 s ago, sent after 0.1 s, answered 0.2 s later; the rest is a moment."""
    metrics = Metrics(detectors=True)
    listener = MetricsListener(metrics)
    now, watch = time.monotonic(), Watch("gate", "fights")
    scored = Scored(
        window(began_monotonic=now - 2.0, captured_monotonic=now - 1.0), 0.5, PLAIN, CAPTURED_AT,
        scored_monotonic=now - 0.7, sent_monotonic=now - 0.9,
    )  # fmt: skip
    clip = ClipScore("gate", "gate/1/0", 0, 0.0, 0.64, 0.5, "m", "1", ClipTimes(scored_monotonic=now - 0.7))
    event = make_event("gate", 0).captured(now - 1.0, decided_monotonic=now - 0.5)
    event = event.model_copy(update={"data": event.data.model_copy(update={"detector": "fights"})})

    def run() -> None:
        listener.scored(watch, scored)
        listener.smoothed(watch, SmoothedScore(clip, 0.5))
        listener.accepted(watch, event)
        listener.published(event, 1.0, 0.05)

    run()
    listener.camera_added("gate", [watch], live=True)
    before = time.monotonic()
    run()
    moment = time.monotonic() - now

    def seen(stage: Stage, what: str = "sum") -> float:
        labels = {"stage": stage, "detector": "fights"}
        return metrics.registry.get_sample_value(f"mistwatch_stage_seconds_{what}", labels) or 0.0

    assert [seen(stage, "count") for stage in Stage] == [2, 2, 2, 1, 2, 2], "a recording's score has no delay"
    of_two = [seen(stage) for stage in (Stage.WINDOW, Stage.QUEUE, Stage.SCORE, Stage.PUBLISH)]
    assert of_two == pytest.approx([2.0, 0.2, 0.4, 0.1])
    assert 0.7 + before - now <= seen(Stage.SMOOTH) <= 0.7 + moment
    assert 2 * 0.5 <= seen(Stage.OUTBOX) <= 2 * (0.5 + moment)


def test_events_of_a_recording_have_no_stages(make_event: Callable[..., Any]) -> None:
    metrics = Metrics()
    listener = MetricsListener(metrics)
    event = make_event("gate", 0).captured(None)
    listener.accepted(Watch("gate"), event)
    listener.published(event, None, None)
    assert 'stage="' not in generate_latest(metrics.registry).decode()


def test_the_background_is_known_while_clips_are_scored_against_it() -> None:
    metrics = Metrics(detectors=True)
    listener = MetricsListener(metrics)
    gate, yard = Watch("gate", "falls"), Watch("yard", "falls")
    served = {kind: replace(PLAIN, scene=kind) for kind in (None, *SceneKind)}
    picture = np.zeros((2, 2, 3), np.uint8)

    def known(watch: Watch) -> float | None:
        labels = {"camera": watch.camera, "detector": watch.detector}
        return metrics.registry.get_sample_value("mistwatch_background_known", labels)

    def score(watch: Watch, reads: SceneKind | None, kept: SceneKind | None, scene: Any) -> float | None:
        clip = window(scene=scene, scene_kind=kept)
        listener.scored(watch, Scored(clip, 0.5, served[reads], CAPTURED_AT))
        return known(watch)

    long, short = SceneKind.BACKGROUND, SceneKind.CLIP
    settings = ChainSettings(alert=AlertSettings(open_threshold=0.5, close_threshold=0.4))
    listener.judged(gate, served[long], settings)
    assert [score(gate, long, long, scene) for scene in (None, picture, None, picture)] == [0, 1, 0, 1]
    assert score(gate, long, short, picture) == 0, "a scene of another kind is not sent"
    assert score(yard, short, short, picture) is score(yard, None, None, None) is None
    assert score(yard, long, long, picture) == 1
    listener.judged(gate, served[short], settings)
    assert (known(gate), known(yard)) == (None, 1)
    listener.camera_removed("yard")
    assert known(yard) is None


def test_a_delivery_after_a_cameras_removal_does_not_bring_its_series_back(make_event: Callable[..., Any]) -> None:
    metrics = Metrics()
    listener = MetricsListener(metrics)
    listener.camera_added("gate", [Watch("gate")], live=True)
    listener.published(make_event("gate", 0), 1.0, 0.1)
    assert 'camera="gate"' in generate_latest(metrics.registry).decode()
    listener.camera_removed("gate")
    listener.published(make_event("gate", 1), 1.0, 0.1)
    assert 'camera="gate"' not in generate_latest(metrics.registry).decode()


def test_events_that_cannot_be_delivered_are_counted_and_logged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_event: Any,
    until: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that the sink refuses, and one of a later version."""
    sink = ScriptedServer()
    sink.script = [Verdict.NEVER]
    monkeypatch.setitem(SINKS, "kafka", SinkKind(lambda _settings: sink.sink()))
    service = Service(site(tmp_path, "127.0.0.1:9", "127.0.0.1:9", {"cam": {"source": "rtsp://127.0.0.1:9/none"}}))
    try:
        events = [make_event("cam", number) for number in range(3)]
        for event in events:
            service.outbox.accept(event)
        with service.outbox._file.transaction() as connection:  # no other process can write it now
            connection.execute('UPDATE events SET document = \'{"type":"later"}\' WHERE id = ?', (events[1].id,))
        stopped = threading.Event()
        stopped.set()
        assert not service.prepare(stopped, patient=True)  # delivers, and does not wait for the scorer
        until(lambda: service.outbox.depth() == 0, "everything delivered or set aside")
    finally:
        service.close()
    assert [json.loads(document)["id"] for document in sink.received] == [events[2].id]
    count = service.metrics.registry.get_sample_value("mistwatch_events_set_aside_total", {"sink": "kafka"})
    assert count == 2
    lines = [line for line in "".join(capsys.readouterr()).splitlines() if "it is set aside" in line]
    for event in events[:2]:
        (line,) = [line for line in lines if event.id in line]
    assert "unknown type 'later'" in line


def test_replaced_connections_to_a_sink_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_event: Any, until: Any
) -> None:
    sink = ScriptedServer()
    sink.script = [Verdict.ACKNOWLEDGED, Verdict.RETRY]
    monkeypatch.setitem(SINKS, "kafka", SinkKind(lambda _settings: sink.sink()))
    service = Service(site(tmp_path, "127.0.0.1:9", "127.0.0.1:9", {"cam": {"source": "rtsp://127.0.0.1:9/none"}}))
    try:
        for number in range(2):
            service.outbox.accept(make_event("cam", number))
        stopped = threading.Event()
        stopped.set()
        assert not service.prepare(stopped, patient=True)  # delivers, and does not wait for the scorer
        until(lambda: service.outbox.depth() == 0, "everything delivered")
        count = service.metrics.registry.get_sample_value("mistwatch_sink_reconnects_total", {"sink": "kafka"})
        assert count == 1
    finally:
        service.close()
