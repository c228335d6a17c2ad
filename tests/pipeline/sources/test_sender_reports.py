"""Cameras over RTSP that send reports on their clock (RTCP), rightly or wrongly."""

from __future__ import annotations

import itertools
import threading
import time
from types import ModuleType

import pytest
from stamped_camera import StampedCamera

from pipeline.sources.arrival import StampFault, StampReport
from pipeline.sources.base import Frame, FrameSpec, TimeSource
from pipeline.sources.rtsp import RtspSource

#: GStreamer's first report comes within seconds, FFmpeg's times follow it.
SECONDS = 120.0

DAY = 86_400.0


def frames_until(url: str, source: TimeSource, faults: list[StampReport], count: int = 20) -> list[Frame]:
    """Return the first frames whose time has this source."""
    stop, found = threading.Event(), []
    deadline = time.monotonic() + SECONDS
    camera = RtspSource("gate", url, on_stamps=faults.append)
    for item in camera.frames([FrameSpec(32, 32)], stop):
        assert time.monotonic() < deadline, f"no times by {source}"
        if isinstance(item, Frame) and item.time_source is source:
            found.append(item)
            if len(found) == count:
                stop.set()
    return found


def lateness(frame: Frame) -> float:
    """Seconds from the time of a picture to its arrival."""
    assert frame.taken_at is not None
    return (frame.received_at - frame.taken_at).total_seconds()


def steps_of(frames: list[Frame]) -> list[float]:
    """Seconds between the times of pictures."""
    times = [frame.taken_at for frame in frames if frame.taken_at is not None]
    return [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]


@pytest.mark.realparts
def test_reports_of_a_camera_with_a_right_clock_are_used(rtsp: ModuleType) -> None:
    faults: list[StampReport] = []
    with rtsp.serve_live() as camera:
        frames = frames_until(camera.url, TimeSource.RTCP, faults)
    steps = steps_of(frames)[5:]  # the first ones are held, where the arrival went before them
    assert steps == pytest.approx([0.1] * len(steps), abs=1e-3), "the pace of the camera, not of the network"
    assert all(0 < lateness(frame) < 5 for frame in frames)
    assert all(frame.time_error_seconds is not None for frame in frames)
    assert not {one.fault for one in faults} & {StampFault.CLOCK_WRONG}


@pytest.mark.realparts
@pytest.mark.parametrize(
    "clock",
    [lambda true: true - 50 * 365 * DAY, lambda true: true + 7200.0, lambda true: true % DAY],
    ids=["decades ago", "two hours ahead", "1970"],
)
def test_reports_of_a_wrong_clock_are_not_used(clock, rtsp: ModuleType) -> None:
    faults: list[StampReport] = []
    with (
        rtsp.serve_live() as server,
        StampedCamera(("127.0.0.1", server.port), lambda _number, true: true, clock) as camera,
    ):
        stop, seen = threading.Event(), []
        deadline = time.monotonic() + SECONDS
        wrong: list[StampReport] = []
        for item in RtspSource("gate", camera.url("cam"), on_stamps=faults.append).frames([FrameSpec(32, 32)], stop):
            assert time.monotonic() < deadline, "its wrong clock is not noticed"
            if isinstance(item, Frame):
                seen.append(item)
                wrong = [one for one in faults if one.fault is not StampFault.MISSING]  # the first picture has none
                if wrong and len(seen) > 20:
                    stop.set()
    assert [one.fault for one in wrong] == [StampFault.CLOCK_WRONG]
    assert "\n" not in wrong[0].message
    assert wrong[0].message.startswith("camera gate: its clock is wrong by ")
    assert {frame.time_source for frame in seen} == {TimeSource.ARRIVAL}
    assert all(0 <= lateness(frame) < 10 for frame in seen)
    times = [frame.taken_at for frame in seen if frame.taken_at is not None]
    assert times == sorted(times)


@pytest.mark.realparts
def test_without_reports_the_arrival_is_used(rtsp: ModuleType) -> None:
    faults: list[StampReport] = []
    with (
        rtsp.serve_live() as server,
        StampedCamera(("127.0.0.1", server.port), lambda _number, true: true) as camera,
    ):
        frames = frames_until(camera.url("cam"), TimeSource.ARRIVAL, faults, 40)
    assert all(frame.time_error_seconds is not None and frame.time_error_seconds >= 0.5 for frame in frames)
    steps = steps_of(frames)
    assert all(step >= 0 for step in steps)
    assert {one.fault for one in faults} <= {StampFault.MISSING}
