"""Cameras of this machine. Where none is plugged in, FFmpeg's own test device stands in for the driver."""

from __future__ import annotations

import errno
import itertools
import time
from functools import partial
from typing import Any

import av
import numpy as np
import pytest
from watched_camera import Watched

from pipeline.sources.base import EndReason, SourceError
from pipeline.sources.device import DeviceSource


class TestPicture(DeviceSource):
    """The same source on FFmpeg's device lavfi, which gives a moving picture in real time."""

    __test__ = False
    form = "lavfi"
    graph = "testsrc2=size=320x240:rate=10,realtime"

    def _open(self) -> av.container.InputContainer:
        self._path = self.graph
        return super()._open()


class ShortPicture(TestPicture):
    """... and that ends, as a device that is unplugged."""

    __test__ = False
    graph = "testsrc2=size=320x240:rate=10:duration=1,realtime"


Device = partial(Watched, "device:///dev/video0")


def test_frames():
    with Device(kind=TestPicture) as camera:
        camera.until(lambda: len(camera.frames) >= 15)
        camera.finish()
    frames = camera.frames
    assert frames[0].native.width == 320
    assert frames[0].segment.live
    assert np.diff([frame.pts_seconds for frame in frames]) == pytest.approx(0.1, abs=0.001)
    assert all(frame.taken_at is not None and frame.taken_at <= frame.received_at for frame in frames)
    assert camera.codes == []
    assert [end.reason for end in camera.ends] == [EndReason.SHUTDOWN]


def test_it_comes_back():
    with Device(kind=ShortPicture) as camera:
        camera.until(lambda: camera.connected >= 2)
    assert camera.codes[0] == "stream_end"
    assert camera.ends[0].reason is EndReason.DISCONNECTED
    assert len([frame for frame in camera.frames if frame.segment == camera.ends[0].segment]) == 10


def test_missing():
    with Watched("device:///dev/no-such-video", kind=DeviceSource) as camera:
        camera.until(lambda: len(camera.outages) >= 2)
    assert set(camera.codes) == {"not_found"}
    assert camera.outages[0].message.startswith("camera gate: device:///dev/no-such-video: no such device; is it")


def test_not_a_camera():
    with Watched("device:///dev/null", kind=DeviceSource) as camera:
        camera.until(lambda: camera.outages)
    assert camera.codes[0] == "not_a_video"
    assert "not a device that takes video" in camera.outages[0].message


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.EBUSY, "busy", "another program uses it"),
        (errno.EACCES, "unauthorized", "the group video"),
        (errno.EINVAL, "protocol", "refuses these settings"),
    ],
)
def test_a_device_that_cannot_be_opened(number, code, words, monkeypatch):
    """The driver's answers, as FFmpeg passes them on."""

    def refuse(*_: Any, **__: Any) -> None:
        av.error.err_check(-number, "/dev/video0")

    monkeypatch.setattr(av, "open", refuse)
    with Device(kind=DeviceSource) as camera:
        camera.until(lambda: camera.outages)
    assert (camera.codes[0], words in camera.outages[0].message) == (code, True), camera.outages[0]


class Driver:
    """A container whose driver has a picture only at every third look, and then ends in an error or in silence."""

    def __init__(self, error: int | None, looks: int) -> None:
        self._container = av.open("testsrc2=size=320x240:rate=10", format="lavfi")
        self._packets = self._container.demux()
        self._error, self._looks, self._look = error, looks, itertools.count(1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self):
        while True:
            look = next(self._look)
            if self._error is not None and look > self._looks:
                av.error.err_check(-self._error)
            if look % 3 or look > self._looks:
                av.error.err_check(-errno.EAGAIN)
            yield next(self._packets)


@pytest.mark.parametrize(
    ("error", "code"), [(errno.ENODEV, "stream_end"), (errno.EIO, "stream_end"), (None, "timeout")]
)
def test_a_driver_without_a_picture_is_asked_again(error, code, monkeypatch):
    """It does not wait within the driver, where no limit would end it."""
    monkeypatch.setattr(DeviceSource, "_open", lambda _: Driver(error, looks=30))
    began = time.monotonic()
    with Device(kind=DeviceSource, limit=1.0) as camera:
        camera.until(lambda: camera.outages)
    assert time.monotonic() - began < 30
    first = [frame for frame in camera.frames if frame.segment == camera.ends[0].segment]
    assert [frame.pts_seconds for frame in first] == pytest.approx([n / 10 for n in range(10)])
    assert camera.codes[0] == code


def test_its_settings_reach_the_driver(monkeypatch):
    opened: list[tuple[str, dict[str, str], str]] = []

    def remember(path: str, *, format: str, options: dict[str, str], timeout: object, hwaccel: object) -> None:
        assert hwaccel is None  # the default is off
        opened.append((path, options, format))
        av.error.err_check(-errno.ENOENT, path)

    monkeypatch.setattr(av, "open", remember)
    query = "video_size=1280x720&framerate=15&input_format=mjpeg"
    with Watched(f"device:///dev/v4l/by-id/usb-cam%231?{query}", kind=DeviceSource) as camera:
        camera.until(lambda: camera.outages)
    path, options, form = opened[0]
    assert (path, form) == ("/dev/v4l/by-id/usb-cam#1", "video4linux2")
    assert options.pop("fflags")
    assert options == {"video_size": "1280x720", "framerate": "15", "input_format": "mjpeg"}


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("device://video0", "expected device:///dev/video0"),
        ("device://", "expected device:///dev/video0"),
        ("device:///dev/video0?size=1x1", "unknown key size; expected video_size, framerate, input_format"),
        ("device:///dev/video0?video_size=big", "got 'big'; expected WIDTHxHEIGHT"),
        ("device:///dev/video0?framerate=", "got ''; expected frames a second"),
    ],
)
def test_a_location_that_no_retry_can_mend(location, words):
    with pytest.raises(SourceError) as caught:
        DeviceSource("gate", location)
    assert caught.value.code == "usage"
    assert words in str(caught.value)
