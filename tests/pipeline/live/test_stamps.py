"""Cameras with wrong time stamps, over a real RTSP connection, scored by a real Triton."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from grey_cameras import Site
from stamped_camera import TICKS, Stamp, StampedCamera
from triton_of_brightness import Server, until

from deploy.camera.server import CameraServer
from pipeline.live.camera import CameraPlan
from pipeline.sources.factory import open_source

FPS = 25
BRIGHT = 200  # above the tiny model's threshold: one alert from the first clips on


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraServer]:
    """A camera that shows one bright picture for ever."""
    path = tmp_path_factory.mktemp("yard") / "yard.mp4"
    write_film(path)
    with CameraServer({"yard": path}) as server:
        yield server


def write_film(path: Path, seconds: int = 4) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = np.full((48, 64, 3), BRIGHT, np.uint8)
        for number in range(seconds * FPS):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class Watched:
    """The camera behind a :class:`StampedCamera`, watched by a worker."""

    def __init__(self, site: Site, url: str) -> None:
        self._site = site
        plan = site.plan(open_source("yard", url))
        site.worker.add(CameraPlan("yard", partial(open_source, "yard", url, None), plan.detectors))

    @property
    def events(self) -> list[tuple[str, str | None]]:
        """State and reason of each event, but for the updates."""
        events = list(self._site.outbox.events)
        return [(event.data.state.value, event.data.end_reason) for event in events if event.data.state != "update"]

    def count(self, metric: str) -> float:
        """The series of this camera whose name (and labels) begin like this."""
        samples = self._site.samples("yard")
        return sum(value for name, value in samples.items() if name.startswith(f"mistwatch_{metric}"))


@pytest.fixture
def watched(triton: Server, yard: CameraServer, request: pytest.FixtureRequest) -> Iterator[Watched]:
    stamp: Stamp = request.param
    with StampedCamera((yard.host, yard.port), stamp) as camera, Site(triton.address) as site:
        yield Watched(site, camera.url("yard"))


def logged(capsys: pytest.CaptureFixture[str], reason: str) -> int:
    """Lines of the log so far that name this fault of the time stamps."""
    lines = capsys.readouterr()
    return sum("time stamps" in line and reason in line for line in (lines.out + lines.err).splitlines())


class StandsStill:
    """Stamps that stop where they are after so many pictures."""

    def __init__(self, after: int) -> None:
        self._after = after
        self._last = 0

    def __call__(self, number: int, true: int) -> int:
        if number < self._after:
            self._last = true
        return self._last


@pytest.mark.parametrize("watched", [StandsStill(3 * FPS)], indirect=True)
def test_stamps_that_come_to_stand_still(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    until(lambda: watched.count("pictures_dropped_total") > 1)  # the first picture of a connection has no stamp
    stood_at, delivered = time.monotonic(), watched.count("frames_decoded_total")
    assert watched.events == [("begin", None)]
    until(lambda: ("end", "clock_jump") in watched.events)
    until(lambda: watched.count("frames_decoded_total") > delivered + FPS)
    assert time.monotonic() - stood_at < 10
    until(lambda: watched.events == [("begin", None), ("end", "clock_jump"), ("begin", None)])  # it is scored again
    assert watched.count("stamps_unusable_total") == 1
    assert logged(capsys, "unusable") == 1
    assert watched.count("camera_connected") == 1
    assert watched.count("reconnects_total") == 0


@pytest.mark.parametrize("watched", [StandsStill(0)], indirect=True)
def test_stamps_that_never_move(watched: Watched) -> None:
    began = time.monotonic()
    until(lambda: watched.count("clips_scored_total") >= 5)
    assert time.monotonic() - began < 20  # of which 10 are for the connection on a machine with other work
    assert watched.count("stamps_unusable_total") == 1


def stray_every_second(number: int, true: int) -> int:
    return true - 9800 * TICKS if number % FPS == FPS - 1 else true


@pytest.mark.parametrize("watched", [stray_every_second], indirect=True)
def test_stray_stamps_are_no_new_clock(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    strays = "pictures_dropped_total[('camera', 'yard'), ('reason', 'stray')]"
    until(lambda: watched.count(strays) >= 4)
    assert watched.events == [("begin", None)]
    assert logged(capsys, "stray") == 1
    assert watched.count("stamps_unusable_total") == 0
    assert watched.count("frames_decoded_total") >= 4 * (FPS - 1) - 1


@pytest.mark.parametrize(
    "watched", [lambda number, true: true if number < 2 * FPS else true - 7000 * TICKS], indirect=True
)
def test_a_reset_clock_is_a_segment(watched: Watched) -> None:
    until(lambda: watched.count("frames_decoded_total") >= 4 * FPS)
    until(lambda: watched.events == [("begin", None), ("end", "clock_jump"), ("begin", None)])
    assert watched.count("pictures_dropped_total") <= 1  # the first one of the connection
