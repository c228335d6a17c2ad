"""The demo's clocks on real parts: a camera that was there before us and loops, and alerts whose time is known."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console
from site_runs import BRIGHT, DARK, site
from triton_of_brightness import Server, T

from deploy.broker.server import BrokerServer
from deploy.camera.server import CameraServer
from pipeline.cli import embedded
from pipeline.cli.demo.consumer import Consumer
from pipeline.cli.demo.display import DemoDisplay
from pipeline.cli.demo.truth import Witness
from pipeline.cli.demo.watch import Watch
from pipeline.cli.live import drive
from pipeline.courtyard.film import write_film
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, IncidentKind, SceneSettings
from pipeline.errors import MistwatchError

FPS = 12.5


class Flashes:
    """A dark scene of 8 s that is bright while something happens: what the brightness model raises alerts for."""

    settings = SceneSettings(fps=FPS, seconds=8)
    frame_count = 100
    incidents = (Incident(IncidentKind.RUNNER, 25, 43), Incident(IncidentKind.FALL, 75, 93))

    def frame(self, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        bright = any(each.first_frame <= number <= each.last_frame for each in self.incidents)
        return np.full((360, 640, 3), BRIGHT if bright else DARK, np.uint8)


def test_delays_count_from_the_sending_whenever_the_camera_was_joined_and_however_often_it_looped(
    tmp_path: Path,
) -> None:
    scene = Flashes()
    film = tmp_path / "flashes.mp4"
    write_film(cast(Courtyard, scene), film)
    server = Server(tmp_path)
    server.start()
    try:
        with (
            BrokerServer(tmp_path / "broker") as broker,
            Consumer(
                broker.bootstrap, lambda event, at: watch.consumed(event, at), tmp_path / "consumer.log"
            ) as consumer,
            CameraServer({"yard": film}) as cameras,
        ):
            time.sleep(2.6)  # the first incident is under way
            stop = threading.Event()
            said = io.StringIO()
            witness = Witness(scene.incidents, fps=FPS, sent=lambda: cameras.sent("yard"))
            display = DemoDisplay(Console(file=said, soft_wrap=True))
            watch = Watch({"yard": {"": witness}}, 18.0, stop=stop, display=display, lines=None)
            drive(
                site(
                    tmp_path,
                    server.address,
                    broker.bootstrap,
                    {"yard": {"source": cameras.url("yard")}},
                    kafka={"bootstrap": broker.bootstrap},
                    alerts={"cooldown_seconds": 0.5},
                ),
                stop=stop,
                display=watch,
                run="",
                await_servers=False,
                await_cameras=False,
                servers_lost=watch.trouble,
            )
            assert watch.complete
            consumer.wait_for(watch.published_events, 20)
            sheet = watch.sheet("")
    finally:
        server.stop()
    report = said.getvalue()
    # 18 s of a film of 8 s with two incidents: at least three of them whole, in two passes or more.
    assert sheet.incidents >= 3, report
    assert sheet.found == sheet.incidents, report
    assert sheet.false_alarms == 0, report
    # Of the three clips that are averaged the last must be bright, and the one before it in part: that is so with the
    # T-th bright frame or the one after it, which was sent this long after the first.
    assert min(sheet.delays) > (T - 1) / FPS, report
    assert max(sheet.delays) < 3.9, report  # busy as the machine may be: 4 s later the next incident begins
    # An alert lasts a few clips of 0.32 s beyond its incident, less than the 2 s that belong to nothing.
    assert sheet.time_in_alert_outside == 0, report
    alerts = [line for line in report.splitlines() if "ALERT" in line]
    assert len(alerts) >= sheet.found
    assert "false alarm" not in report
    assert {showing.kind for showing in witness.showings()} == {"runner", "fall"}
    first, second, *_ = (showing.began for showing in witness.showings() if showing.kind == "runner")
    assert abs(second - first - timedelta(seconds=8)) < timedelta(seconds=1)


def test_a_consumer_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "consumer.log"
    with BrokerServer(tmp_path / "broker") as broker, Consumer(broker.bootstrap, lambda *_event: None, log) as consumer:
        os.kill(consumer.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(MistwatchError, match="0 of 1 alert events: its consumer has ended"):
            consumer.wait_for(1, 60)
        assert embedded.ended([broker, consumer]) == f"the embedded consumer has ended by itself (log: {log})"
        assert time.monotonic() - began < 30
