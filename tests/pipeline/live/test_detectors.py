"""Several detectors of one site on a real Triton with two models of known scores (a clip's brightness)."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from grey_cameras import GreyCamera, Site
from hearing import Heard
from site_runs import BRIGHT, DARK, site, write_video
from triton_of_brightness import Server, until

from pipeline.alerts.event import AlertEvent
from pipeline.live.listener import Watch
from pipeline.live.service import Service
from pipeline.scoring.outcomes import Scored

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

SCENE = [(3.0, DARK), (3.0, BRIGHT), (3.0, DARK)]
FRAMES = 90


def run(
    folder: Path, three_models: Server, broker: str, cameras: dict[str, Any], detectors: dict[str, Any]
) -> tuple[Service, list[AlertEvent], Heard]:
    events: list[AlertEvent] = []
    heard = Heard(accepted=events.append)
    settings = site(folder, three_models.address, broker, cameras, detectors=detectors)
    service = Service(settings, run="r", listeners=[heard])
    run_to_the_end(service)
    return service, events, heard


def run_to_the_end(service: Service) -> None:
    try:
        assert service.prepare(threading.Event(), patient=False)
        service.start()
        assert service.worker is not None
        assert service.worker.wait(120)
    finally:
        assert service.close(relay_seconds=60) == 0


def value(service: Service, name: str, **labels: str) -> float | None:
    return service.metrics.registry.get_sample_value(f"mistwatch_{name}", labels)


def test_two_detectors_on_one_camera(tmp_path: Path, three_models: Server, broker: str) -> None:
    """Each has its clips, its chain and its alerts; the picture is decoded once, and scaled once for each size."""
    video = write_video(tmp_path / "scene.mp4", SCENE)
    service, events, heard = run(
        tmp_path,
        three_models,
        broker,
        {"cam": {"source": str(video)}},
        {"keen": {"model": "small"}, "calm": {"model": "large", "alerts": {"open_threshold": 0.9}}},
    )
    of = {name: [event.data for event in events if event.data.detector == name] for name in ("keen", "calm")}
    assert [len(datas) for datas in of.values()] == [2, 2]
    for name, threshold in (("keen", 0.5), ("calm", 0.9)):
        assert [data.state for data in of[name]] == ["begin", "end"]
        assert {data.threshold for data in of[name]} == {threshold}
        assert {data.camera for data in of[name]} == {"cam"}
        assert len({data.alert_id for data in of[name]}) == 1
    assert of["keen"][0].alert_id != of["calm"][0].alert_id
    assert [of[name][0].model for name in of] == ["small_mean", "large_mean"]
    assert {event.subject for event in events} == {"cam"}, "the key of the topic stays the camera"
    assert len({uri for data in (of["keen"][-1], of["calm"][-1]) for uri in data.evidence}) == 2

    assert value(service, "frames_decoded_total", camera="cam") == FRAMES
    assert value(service, "pictures_scaled_total", camera="cam") == 2 * FRAMES
    clips = {"keen": (FRAMES - 4) // 2 + 1, "calm": (FRAMES - 4) // 4 + 1}
    assert Counter(watch for watch, _ in heard.clips) == {Watch("cam", name): count for name, count in clips.items()}
    for name, count in clips.items():
        assert value(service, "clips_scored_total", camera="cam", detector=name) == count
        assert value(service, "alerts_total", camera="cam", detector=name) == 1
    shapes = {watch.detector: outcome.window.pixels.shape for watch, outcome in heard.clips}
    assert shapes == {"keen": (4, 16, 16, 3), "calm": (4, 32, 24, 3)}
    assert [(state.detector, state.scored) for state in service.board.states] == list(clips.items())
    assert service.summary.alerts == 2


def test_detectors_of_one_clip_size_share_the_picture(tmp_path: Path, three_models: Server, broker: str) -> None:
    """One takes every frame and the other 5 a second: they are resampled apart."""
    video = write_video(tmp_path / "scene.mp4", [(4.0, DARK)])
    detectors = {"native": {"model": "small"}, "slow": {"model": "slow"}}
    service, _, heard = run(tmp_path, three_models, broker, {"cam": {"source": str(video)}}, detectors)
    assert value(service, "frames_decoded_total", camera="cam") == 40
    assert value(service, "pictures_scaled_total", camera="cam") == 40
    clips = {"native": (40 - 4) // 2 + 1, "slow": (20 - 4) // 2 + 1}
    assert Counter(watch.detector for watch, _ in heard.clips) == clips


def test_a_detector_of_one_camera_watches_no_other(tmp_path: Path, three_models: Server, broker: str) -> None:
    video = write_video(tmp_path / "scene.mp4", SCENE)
    cameras = {"gate": {"source": str(video)}, "yard": {"source": str(video)}}
    detectors = {"site": {"model": "small"}, "own": {"model": "large", "camera": "gate"}}
    service, events, _ = run(tmp_path, three_models, broker, cameras, detectors)
    begun = {(event.subject, event.data.detector) for event in events}
    assert begun == {("gate", "site"), ("gate", "own"), ("yard", "site")}
    assert value(service, "pictures_scaled_total", camera="gate") == 2 * FRAMES
    assert value(service, "pictures_scaled_total", camera="yard") == FRAMES


def test_the_ids_of_a_single_named_detector_are_those_of_a_site_without_detectors(
    tmp_path: Path, three_models: Server, broker: str
) -> None:
    video = write_video(tmp_path / "scene.mp4", SCENE)
    cameras = {"cam": {"source": str(video)}}
    only, second = {"only": {"model": "small"}}, {"second": {"model": "large"}}
    ids: dict[str, list[str]] = {}
    for name, detectors in {"named": only, "two": only | second}.items():
        (folder := tmp_path / name).mkdir()
        _, events, _ = run(folder, three_models, broker, cameras, detectors)
        ids[name] = [event.id for event in events if event.data.detector == "only"]
    (folder := tmp_path / "plain").mkdir()
    settings = site(folder, three_models.address, broker, cameras)
    settings = settings.model_copy(update={"triton": settings.triton.model_copy(update={"model": "small"})})
    plain: list[AlertEvent] = []
    run_to_the_end(Service(settings, run="r", listeners=[Heard(accepted=plain.append)]))
    assert {event.data.detector for event in plain} == {None}
    assert [event.id for event in plain] == ids["named"]
    assert not set(ids["two"]) & set(ids["named"])


#: Clips that a camera may be ahead of another one by: one turn, and the clips in flight (4) that may all be its own.
FAIR_WITHIN = 1 + 4


def test_a_camera_with_two_detectors_has_no_more_turns_than_one_with_one(three_models: Server) -> None:
    """Each clip takes the models 50 ms, far too long for all: both cameras drop clips, and both have as many scored."""
    slow = (5, 100, 0)
    with Site(three_models.address, ["small", "large"]) as site:
        site.worker.add(site.plan(GreyCamera("one", slow), "small"))
        site.worker.add(site.plan(GreyCamera("two", slow), "small", "large"))

        def counted() -> dict[str, int]:
            states = site.board.states
            return {camera: sum(s.scored for s in states if s.camera == camera) for camera in ("one", "two")}

        until(lambda: min(counted().values()) > 5)
        before = counted()
        until(lambda: sum(counted().values()) - sum(before.values()) > 100)
        after = counted()
        dropped = {state.camera: state.dropped for state in site.board.states}
        by_detector = {state.detector: state.scored for state in site.board.states if state.camera == "two"}
    gained = {camera: after[camera] - before[camera] for camera in after}
    assert abs(gained["one"] - gained["two"]) <= 2 * FAIR_WITHIN, gained  # at either end of the stretch
    assert min(dropped.values()) > 0, "the scorer was not overloaded"
    assert abs(by_detector["small"] - by_detector["large"]) <= FAIR_WITHIN, "its detectors take its turns by turns"


def test_a_model_that_goes_away_does_not_hold_up_the_other(three_models: Server) -> None:
    heard = Heard()
    with Site(three_models.address, ["small", "large"], listeners=[heard]) as site:
        site.worker.add(site.plan(GreyCamera("cam", DARK, fps=10), "small", "large"))
        small, large = site.board.states
        until(lambda: small.scored > 2 and large.scored > 2)
        three_models.unload("large")
        try:
            until(lambda: large.dropped > 0)  # its queue is full
            scored = small.scored
            until(lambda: small.scored > scored + 10)
            assert small.dropped == 0
        finally:
            three_models.load("large")
        scored = large.scored
        until(lambda: large.scored > scored + 2)
    assert all(isinstance(outcome, Scored) for watch, outcome in heard.clips if watch.detector == "small")
