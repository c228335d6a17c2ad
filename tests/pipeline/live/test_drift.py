"""The drift of a camera: from a served model's scores to events, metrics, log lines, and the run folder of a replay."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from json_lines_sink import JsonLinesSettings, JsonLinesSink
from ports import free_port
from replays import contents, replay
from structlog.testing import capture_logs
from triton_of_brightness import H, Server, W, write_repository

from operators.drift import DriftSeen, DriftState
from operators.scores import ClipScore
from pipeline.live.drift import DriftWatch
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.service import Service
from pipeline.runs.folder import ALERTS_FILE, read_run
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import Site
from pipeline.sinks import SINKS, SinkKind
from pipeline.windows import ClipSpec

OWN = ServedModel("own", "1", ClipSpec(), rarity=True)
DARK, BRIGHT = 40, 100  # scores 0.16 and 0.39: below and above the level 0.25, and both below the threshold 0.5


def write_film(path: Path, minutes: list[tuple[int, int]]) -> Path:
    """A lossless grey film of a picture a second: so many minutes of each brightness."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = W, H, "bgr0"
        for length, brightness in minutes:
            picture = np.full((H, W, 3), brightness, np.uint8)
            picture[0, 0] = 0  # the model answers at once
            for _ in range(60 * length):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class Seen(WorkerListener):
    """Keeps what the worker reports."""

    def __init__(self) -> None:
        self.all: list[DriftSeen] = []

    def drift_seen(self, watch: Watch, seen: DriftSeen) -> None:
        self.all.append(seen)


@pytest.fixture
def own(triton: Server) -> Iterator[str]:
    """The name of a served model whose scores are rarities."""
    write_repository(triton.repository, "own", name="own", scores="rarity")
    triton.load("own")
    yield "own"
    triton.unload("own")


def run_site(folder: Path, film: Path, triton: str, model: str) -> tuple[Service, Seen, list[dict[str, Any]]]:
    """Run a site over a film to its end; return it with what it has sent to its second sink. Kafka is away."""
    sent = folder / "sent.jsonl"
    site = Site(
        site="test",
        state_dir=folder / "state",
        cameras={"gate": {"source": str(film)}},
        triton={"address": triton, "model": model},
        kafka={"bootstrap": f"127.0.0.1:{free_port()}"},
        sinks={"json_lines": {"path": sent}},
    )
    seen = Seen()
    service = Service(site, run="r", listeners=[seen])
    try:
        assert service.prepare(threading.Event(), patient=True)
        service.start()
        assert service.worker is not None
        assert service.worker.wait(120)
    finally:
        left = service.close()
    lines = sent.read_text().splitlines() if sent.exists() else []
    assert left == len(lines)
    return service, seen, [json.loads(line) for line in lines]


def without_run(event: dict[str, Any]) -> dict[str, Any]:
    """An event without its run, which is part of the id of its drift."""
    data = {key: value for key, value in event["data"].items() if key not in ("run", "drift_id")}
    return event | {"id": event["id"][-2:], "data": data}


@pytest.mark.realparts
def test_a_drift_reaches_every_sink_and_a_replay_finds_the_same(
    tmp_path: Path, triton: Server, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 minutes as learned, 20 of another brightness, 40 as before.

    A drift is noticed at ln 525 600 = 13.17. A minute of rare clips adds ln 2.5 = 0.916: the 15th reaches it. Later a
    minute without one takes ln 1.6 = 0.470; the clip that sees both halves is rare, so 28 do not suffice, but 29.
    """
    monkeypatch.setitem(SINKS, "json_lines", SinkKind(JsonLinesSink, JsonLinesSettings))
    film = write_film(tmp_path / "gate.mkv", [(20, DARK), (20, BRIGHT), (40, DARK)])
    with capture_logs() as logged:
        service, seen, sent = run_site(tmp_path, film, triton.address, own)
    begin, end = sent
    assert [one["type"] for one in sent] == ["mistwatch.drift"] * 2
    assert [one["data"]["state"] for one in sent] == ["begin", "end"]
    assert [one["id"] for one in sent] == [f"{begin['data']['drift_id']}/{number}" for number in (0, 1)]
    assert {one["subject"] for one in sent} == {"gate"}
    assert begin["data"]["started_pts_seconds"] == pytest.approx(1198, abs=0.1), "the first clip with a bright picture"
    assert begin["data"]["last_pts_seconds"] == pytest.approx((20 + 15) * 60, abs=0.1)
    assert (begin["data"]["share"], begin["data"]["learned_share"]) == (1.0, 0.1)
    assert end["data"]["last_pts_seconds"] == pytest.approx((40 + 29) * 60, abs=0.1)
    assert end["data"]["end_reason"] == "as_learned_again"
    *minutes, closed = seen.all
    assert [(state, len(list(run))) for state, run in groupby(minute.state for minute in minutes)] == [
        (DriftState.UNKNOWN, 14), (DriftState.AS_LEARNED, 35 - 15), (DriftState.DRIFTED, 69 - 35),
        (DriftState.AS_LEARNED, 80 - 68),
    ]  # fmt: skip
    assert minutes[-1].share == pytest.approx(20 / 60, abs=0.002), "of the last hour"
    assert closed.state is DriftState.UNKNOWN
    assert service.summary.alerts == 0
    assert [(line["event"], line.get("reason")) for line in logged if "share_above_learned_tenth" in line] == [
        ("the camera no longer looks as it was learned; look at it, or learn it again", None),
        ("the drift of the camera is over", "as_learned_again"),
    ]

    site = {"triton": {"address": triton.address, "model": own}}
    for folder in ("run", "again"):
        assert replay(tmp_path / folder, [film], triton.address, site=site).alerts == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / ALERTS_FILE).read_text().splitlines()]
    assert [without_run(one) for one in lines] == [without_run(one) for one in sent]
    assert contents(tmp_path / "again") == contents(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert (run.settings.alerts, run.alerts["gate"]) == (0, ())
    assert replay(tmp_path / "run", [film], triton.address, site=site).kept == 1


@pytest.mark.realparts
def test_scores_of_a_detector_of_any_camera_are_not_followed(
    tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SINKS, "json_lines", SinkKind(JsonLinesSink, JsonLinesSettings))
    film = write_film(tmp_path / "gate.mkv", [(20, BRIGHT)])
    _, seen, sent = run_site(tmp_path, film, triton.address, "clip_scorer")
    assert (seen.all, sent) == ([], [])


def minute(number: int, score: float, version: str = "1") -> ClipScore:
    return ClipScore("gate", "s", number, 60.0 * number, 60.0 * (number + 1), score, "own", version)


def drift_watch(listener: WorkerListener | None = None) -> DriftWatch:
    watch = Watch("gate", "own")
    return DriftWatch(
        watch,
        site="yard",
        run="",
        replay=False,
        several_detectors=True,
        on_seen=lambda seen: None if listener is None else listener.drift_seen(watch, seen),
    )


def test_a_version_that_is_not_learned_here_ends_a_drift_and_its_metrics() -> None:
    metrics = Metrics(detectors=True)
    drift = drift_watch(MetricsListener(metrics))

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"mistwatch_{name}", {"camera": "gate", "detector": "own"})

    drift.adopt(OWN)
    for number in range(14):
        drift.take(minute(number, 0.9))
        assert value("drift") is value("rare_clips_share") is None
    drift.take(minute(14, 0.9))
    assert (value("drift"), value("rare_clips_share")) == (1, 1)
    drift.take(minute(15, 0.9, version="2"))
    assert value("drift") is value("rare_clips_share") is None
    begin, end = drift.pop()
    assert (begin.data.state, end.data.state, end.data.end_reason) == ("begin", "end", "model_changed")
    assert end.data.model_version == "1"
    assert drift.pop() == []


def test_another_model_under_the_same_version_may_have_other_scores() -> None:
    drift = drift_watch()
    for served in (OWN, replace(OWN, rarity=False)):
        drift.adopt(served)
        for number in range(20):
            drift.take(minute(number, 0.9))
    assert [event.data.end_reason for event in drift.pop()] == [None, "model_changed"]


def test_the_end_of_watching_ends_a_drift_and_its_metrics() -> None:
    metrics = Metrics(detectors=True)
    drift = drift_watch(MetricsListener(metrics))
    drift.adopt(OWN)
    for number in range(20):
        drift.take(minute(number, 0.9))
    labels = {"camera": "gate", "detector": "own"}
    assert metrics.registry.get_sample_value("mistwatch_drift", labels) == 1
    drift.close()
    drift.close()
    assert metrics.registry.get_sample_value("mistwatch_drift", labels) is None
    assert [event.data.end_reason for event in drift.pop()] == [None, "closed"]


def test_metrics_of_a_removed_camera_are_gone() -> None:
    metrics = Metrics()
    listener = MetricsListener(metrics)
    listener.drift_seen(Watch("gate"), DriftSeen(DriftState.DRIFTED, 0.5))
    listener.camera_removed("gate")
    assert metrics.registry.get_sample_value("mistwatch_drift", {"camera": "gate"}) is None
    assert metrics.registry.get_sample_value("mistwatch_rare_clips_share", {"camera": "gate"}) is None
