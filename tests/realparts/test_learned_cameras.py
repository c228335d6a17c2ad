"""From normal footage to alerts: a camera that is learned, calibrated and watched, and another one that joins later."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hearing import Heard
from kafka import KafkaConsumer, TopicPartition
from PIL import Image
from triton_of_brightness import until
from walking_films import RUNNER, pictures, write

from deploy.camera.server import CameraServer
from deploy.triton.server import TritonServer
from pipeline.alerts.event import AlertEvent
from pipeline.calibration.file import read_calibration
from pipeline.live.service import Service
from pipeline.scoring.outcomes import Dropped
from pipeline.settings import load_site

pytestmark = [pytest.mark.realparts, pytest.mark.alone]

SEEDS = {"gate": 0, "yard": 1}  #: of the scenes
#: A person runs for 2 s in each turn of 20 s.
RUNNING = [(12.0, 14.0)]


def mistwatch(*arguments: object) -> None:
    command = [sys.executable, "-P", "-m", "pipeline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def learn_and_add(camera: str, footage: Path, repository: Path) -> None:
    run = footage.with_name(f"{camera}-run")
    # The same clips for all cameras, as one model is to host them.
    mistwatch("learn", footage, "--camera", camera, "--set", "gaps=[2]", "--hold-out", "0.25", "--out", run)
    mistwatch("export", "--model", run / "product", "--out", repository, "--into", "learned")


def test_one_camera_is_watched_while_another_is_learned(tmp_path: Path, broker: str) -> None:
    """``fights`` watches the first one as well. Runners are alerts with heat where they run, and no clip is lost."""
    repository, topic = tmp_path / "repository", f"t{tmp_path.name}"
    footage = {camera: write(tmp_path / f"{camera}.mp4", pictures(60, seed=seed)) for camera, seed in SEEDS.items()}
    films = {
        camera: write(tmp_path / f"{camera}-live.mp4", pictures(20, seed=seed, running=RUNNING))
        for camera, seed in SEEDS.items()
    }
    learn_and_add("gate", footage["gate"], repository)
    mistwatch("export", "--model", "fights", "--out", repository, "--as", "fights")
    with CameraServer(films) as cameras, TritonServer(repository, log=tmp_path / "triton.log") as triton:
        site = tmp_path / "site.yaml"
        document: dict[str, Any] = {
            "site": "test",
            "state_dir": "state",
            "triton": {"address": triton.grpc_address, "queue_clips": 64},
            "kafka": {"bootstrap": broker, "topic": topic},
            # Few clips, so that a busy machine keeps up: what is dropped by an overload is not the subject.
            "detectors": {"unusual": {"model": "learned"}, "fights": {"model": "fights", "clip": {"stride": 64}}},
            "cameras": {
                "gate": {"source": cameras.url("gate"), "detectors": ["unusual", "fights"]},
                "yard": {"source": cameras.url("yard"), "detectors": ["unusual"]},
            },
        }
        site.write_text(json.dumps(document))  # JSON is YAML
        budget = ("--budget", "300/hour", "--out", tmp_path / "gate.json")
        mistwatch("calibrate", footage["gate"], "--config", site, "--detector", "unusual", "--camera", "gate", *budget)
        document["detectors"]["unusual"]["calibration"] = "gate.json"
        site.write_text(json.dumps(document))

        begun: Counter[str] = Counter()
        heard = Heard(accepted=lambda event: begun.update([event.subject] * (event.data.detector == "unusual")))
        service = Service(load_site(site), listeners=[heard])
        try:
            assert service.prepare(threading.Event(), patient=True)
            service.start()
            until(lambda: begun["gate"])
            assert not begun["yard"]  # it has no part yet
            learn_and_add("yard", footage["yard"], repository)
            until(lambda: begun["yard"])
            clips = [(watch.camera, outcome) for watch, outcome in list(heard.clips) if watch.detector == "unusual"]
        finally:
            service.close(relay_seconds=60)

    assert [outcome.reason for camera, outcome in clips if camera == "gate" and isinstance(outcome, Dropped)] == []
    alerts = [event for event in read(broker, topic) if event.data.detector == "unusual"]
    assert {event.subject: event.data.model_version for event in alerts} == {"gate": "1.1", "yard": "1.1"}
    assert alerts[0].data.threshold == read_calibration(tmp_path / "gate.json").alerts.open_threshold
    for camera in SEEDS:
        shown = next(uri for event in alerts for uri in event.data.evidence if event.subject == camera)
        check_heat(np.asarray(Image.open(urlsplit(shown).path).convert("RGB")).astype(int))


def check_heat(picture: np.ndarray) -> None:
    """Check that a grey picture is coloured where the runner is, and grey in the upper half."""
    colour = np.ptp(picture, axis=2)
    top, side, _ = RUNNER
    assert colour[top : top + side].max() > 25
    assert colour[: top - 16].max() < 12  # JPEG leaves a trace of colour


def read(bootstrap: str, topic: str) -> list[AlertEvent]:
    """Return the events of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=5000)
    try:
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()])
        return [AlertEvent.model_validate_json(message.value) for message in consumer]
    finally:
        consumer.close()
