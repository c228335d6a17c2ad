"""Tampering from frames to events: the watch of a camera, the reporter of its events, settings and metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from json_lines_sink import JsonLinesSettings, JsonLinesSink
from ports import free_port
from replays import contents, replay
from structlog.testing import capture_logs
from tampered_pictures import HEIGHT, WIDTH, Luma, noisy, scene
from triton_of_brightness import Server

from operators.tamper.kinds import ALL_KINDS, Moment, TamperKind, TamperTransition
from pipeline.alerts.evidence import EvidenceStore
from pipeline.alerts.reading import Event
from pipeline.alerts.tamper import TamperEvent
from pipeline.live.camera import Tampered
from pipeline.live.listener import WorkerListener
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.service import Service
from pipeline.live.tamper import TamperReporter, TamperSeen, TamperWatch, look_of
from pipeline.live.worker import Worker
from pipeline.runs.folder import ALERTS_FILE
from pipeline.settings import Site, load_site
from pipeline.sinks import SINKS, SinkKind
from pipeline.sources.base import Frame, Segment

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
CLOTH = np.full((HEIGHT, WIDTH), 70.0)


def picture(luma: Luma) -> av.VideoFrame:
    """Return a decoded picture without colour."""
    height, width = luma.shape
    grey = np.full((height // 2, width), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")


def feed(
    watch: TamperWatch, pictures: Iterable[Luma], start: float, segment: str = "gate/a/0", *, is_corrupt: bool = False
) -> None:
    """Give a watch each picture three times, a second apart."""
    for number, luma in enumerate(pictures):
        native = picture(luma)
        for third in range(3):
            pts = start + number + third / 4
            at = BEGAN + timedelta(seconds=pts)
            watch.take(Frame(Segment(segment, "gate", live=True), pts, at, at, {}, native, is_corrupt=is_corrupt))


def test_a_covered_lens_is_one_event_across_connections_with_its_picture(tmp_path: Path) -> None:
    seen: list[TamperSeen] = []
    watch = TamperWatch("gate", ALL_KINDS, seen.append)
    feed(watch, noisy(scene(), 80), 0)
    feed(watch, noisy(CLOTH, 20), 80)
    feed(watch, noisy(CLOTH, 20), 5, "gate/b/0")
    feed(watch, noisy(scene(), 20), 0, "gate/c/0")
    store = EvidenceStore(tmp_path, quota_bytes=10_000_000, max_age_seconds=3600)
    reporter = TamperReporter(site="yard", run="", replay=False, pictures=store)
    with capture_logs() as logs:
        begin, end = (reporter.report(one) for one in seen)
    assert (begin.data.kind, begin.data.state, begin.data.segment) == ("covered", "begin", "gate/a/0")
    assert begin.data.started_at == BEGAN + timedelta(seconds=80)
    assert 9 <= begin.data.last_pts_seconds - begin.data.started_pts_seconds <= 12
    assert (end.data.end_reason, end.data.last_segment) == ("cleared", "gate/c/0")
    (uri,) = begin.data.evidence
    assert Path(uri.removeprefix("file://")).read_bytes()[:2] == b"\xff\xd8"
    assert not end.data.evidence
    assert [(one["log_level"], one["kind"]) for one in logs] == [("warning", "covered"), ("info", "covered")]
    assert reporter.close() == []


def test_pictures_that_the_decoder_has_marked_are_corrupt() -> None:
    """The mark is the frame's: the picture may be a copy of another process."""
    seen: list[TamperSeen] = []
    watch = TamperWatch("gate", ALL_KINDS, seen.append)
    feed(watch, noisy(scene(), 60), 0)
    assert not seen
    feed(watch, noisy(scene(), 60), 60, is_corrupt=True)
    assert [one.transition.kind for one in seen] == [TamperKind.CORRUPT]


def test_what_is_open_ends_when_the_camera_is_not_watched_any_more() -> None:
    reporter = TamperReporter(site="yard", run="r", replay=True, pictures=None)
    transition = TamperTransition("gate", TamperKind.MOVED, Moment("a", 1.0), Moment("a", 61.0), 1.0, 0.7)
    begin = reporter.report(TamperSeen(transition, picture(next(noisy(scene(), 1)))))
    (end,) = reporter.close()
    assert begin.data.tamper_id == end.data.tamper_id
    assert end.data.end_reason == "closed"
    assert reporter.close() == []


class Kept:
    """Keeps events, or refuses them as a full outbox does."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_full = False

    def accept(self, event: Event) -> bool | None:
        if self.is_full:
            return None
        self.events.append(event)
        return True


class Heard(WorkerListener):
    """Keeps the tamperings that a worker reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.left_events: list[tuple[str, Event]] = []

    def tampered(self, event: TamperEvent) -> None:
        self.events.append(event)

    def left(self, camera: str, event: Event) -> None:
        self.left_events.append((camera, event))


class SharedCamera:
    """A camera of a group, at its tampering, and a worker without threads that has it."""

    def __init__(self) -> None:
        self.kept, self.heard, self.is_lost = Kept(), Heard(), False
        states: Any = SimpleNamespace(is_lost=lambda camera, generation: self.is_lost)
        nothing: Any = None
        self.worker = Worker(
            [],
            site="yard",
            run="r",
            scorer=nothing,
            queue_clips=1,
            outbox=self.kept,
            notify=lambda: None,
            pictures=None,
            listeners=[self.heard],
            states=states,
        )
        live: Any = SimpleNamespace(live=True)
        self.camera: Any = SimpleNamespace(name="gate", source=live, generation=7, is_handed_over=False)
        self.camera.tamper_reporter = self.worker._tamper_reporter(self.camera)

    def cover(self) -> None:
        transition = TamperTransition("gate", TamperKind.COVERED, Moment("a", 1.0), Moment("a", 11.0), 1.0, 0.6)
        self.worker._take_tampered(Tampered(self.camera, TamperSeen(transition, None)))


def test_a_camera_that_is_handed_over_does_not_end_its_tampering() -> None:
    shared = SharedCamera()
    shared.cover()
    shared.camera.is_handed_over = True
    shared.worker._close_tampered(shared.camera)
    (begin,) = shared.kept.events
    assert isinstance(begin, TamperEvent)
    assert (begin.data.state, begin.data.generation) == ("begin", 7)
    shared.camera.is_handed_over = False
    shared.worker._close_tampered(shared.camera)
    assert [one.data.state for one in shared.heard.events if isinstance(one, TamperEvent)] == ["begin", "end"]


def test_a_tampering_that_is_refused_is_not_reported() -> None:
    shared = SharedCamera()
    shared.kept.is_full = True
    shared.cover()
    assert shared.heard.events == []


def test_a_tampering_of_a_camera_that_another_worker_has_is_left_to_it() -> None:
    shared = SharedCamera()
    shared.is_lost = True
    shared.cover()
    assert (shared.kept.events, shared.heard.events) == ([], [])
    assert [(camera, event.type) for camera, event in shared.heard.left_events] == [("gate", "mistwatch.tamper.begin")]


@pytest.mark.parametrize("name", ["yuv420p", "yuvj422p", "yuv444p", "nv12", "gray", "rgb24", "yuv420p10le"])
def test_every_format_of_pictures_has_the_same_look(name: str) -> None:
    luma = next(noisy(scene(), 1))
    expected, found = look_of(picture(luma)), look_of(picture(luma).reformat(format=name))
    assert expected is not None
    assert found is not None
    wide = name in ("yuvj422p", "rgb24", "gray", "yuv420p10le")  # of the full range of levels, or converted to it
    np.testing.assert_allclose(found.grey, expected.grey, atol=20 if wide else 1)
    assert found.damaged < 0.01


def test_a_picture_that_is_too_small_has_none() -> None:
    frame = av.VideoFrame(64, 48, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 10)
    assert look_of(frame) is None


def test_its_metrics() -> None:
    metrics = Metrics()
    listener = MetricsListener(metrics)
    reporter = TamperReporter(site="yard", run="", replay=False, pictures=None)
    transition = TamperTransition("gate", TamperKind.FROZEN, Moment("a", 1.0), Moment("a", 21.0), 20.0, 20.0)
    labels = {"camera": "gate", "kind": "frozen"}
    listener.tampered(reporter.report(TamperSeen(transition, None)))
    assert metrics.registry.get_sample_value("mistwatch_tamper_active", labels) == 1
    for event in reporter.close():
        listener.tampered(event)
        listener.published(event, None, None)
    assert metrics.registry.get_sample_value("mistwatch_tamper_active", labels) == 0
    assert metrics.registry.get_sample_value("mistwatch_tamper_total", labels) == 1
    metrics.forget("gate")
    assert metrics.registry.get_sample_value("mistwatch_tamper_total", labels) is None


@pytest.mark.parametrize(
    ("site", "camera", "expected"),
    [
        ("", "", ALL_KINDS),
        ("tamper: off", "", frozenset()),
        ("tamper: off", "tamper: auto", ALL_KINDS),
        ("tamper: {kinds: [covered, frozen]}", "", {TamperKind.COVERED, TamperKind.FROZEN}),
        ("tamper: auto", "tamper: {kinds: [moved]}", {TamperKind.MOVED}),
    ],
)
def test_its_settings(site: str, camera: str, expected: set[TamperKind], tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"{site}\ncameras:\n  gate:\n    source: rtsp://gate/1\n    {camera}\n")
    assert load_site(file).tamper_of("gate") == expected


def test_the_environment_switches_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("cameras:\n  gate:\n    source: rtsp://gate/1\n")
    monkeypatch.setenv("MISTWATCH_TAMPER", "off")
    assert load_site(file).tamper_of("gate") == frozenset()


def write_film(path: Path) -> Path:
    """Write a lossless film of a picture a second: 80 s of the usual scene, and 20 s of a cloth."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for luma in (*noisy(scene(), 80), *noisy(CLOTH, 20)):
            container.mux(stream.encode(picture(luma)))
        container.mux(stream.encode())
    return path


@pytest.mark.realparts
def test_a_worker_sends_its_events_and_a_replay_keeps_them(
    tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SINKS, "json_lines", SinkKind(JsonLinesSink, JsonLinesSettings))
    film, sent = write_film(tmp_path / "gate.mkv"), tmp_path / "sent.jsonl"
    site = Site(
        site="test",
        state_dir=tmp_path / "state",
        cameras={"gate": {"source": str(film)}},
        triton={"address": triton.address},
        kafka={"bootstrap": f"127.0.0.1:{free_port()}"},
        sinks={"json_lines": {"path": sent}},
    )
    service = Service(site, run="r")
    try:
        assert service.prepare(threading.Event(), patient=True)
        service.start()
        assert service.worker is not None
        assert service.worker.wait(300)
    finally:
        service.close()
    events = [one for one in map(json.loads, sent.read_text().splitlines()) if "tamper" in one["type"]]
    assert [(one["type"], one["data"]["kind"], one["data"]["end_reason"]) for one in events] == [
        ("mistwatch.tamper.begin", "covered", None),
        ("mistwatch.tamper.end", "covered", "closed"),
    ]
    assert events[0]["data"]["started_pts_seconds"] == 80
    assert Path(events[0]["data"]["evidence"][0].removeprefix("file://")).is_file()

    for folder in ("run", "again"):
        replay(tmp_path / folder, [film], triton.address)
    lines = [json.loads(line) for line in (tmp_path / "run" / ALERTS_FILE).read_text().splitlines()]
    assert [(one["type"], one["data"]["state"]) for one in lines[-2:]] == [
        ("mistwatch.tamper.begin", "begin"),
        ("mistwatch.tamper.end", "end"),
    ]
    assert contents(tmp_path / "again") == contents(tmp_path / "run")
    assert replay(tmp_path / "off", [film], triton.address, site={"tamper": {"mode": "off"}}) is not None
    assert "tamper" not in (tmp_path / "off" / ALERTS_FILE).read_text()
