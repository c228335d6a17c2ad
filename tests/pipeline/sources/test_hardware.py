"""Devices that decode, and what becomes of a camera whose device does not. No device is needed, nor wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av.container
import pytest
from av.codec.hwaccel import hwdevices_available

from pipeline.sources import connection
from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.connection import LiveStream
from pipeline.sources.hardware import find_device, why_unusable

#: A kind that FFmpeg knows on Linux, and that decodes no H.264 in PyAV's.
NEVER = "drm"


class FilmCamera(LiveStream):
    """A camera whose stream is a film; its end is the end of the test."""

    def __init__(self, film: Path, **options: Any) -> None:
        self.stop = threading.Event()
        super().__init__("gate", film.name, on_outage=lambda _outage: self.stop.set(), **options)
        self._film = film

    def _open(self) -> av.container.InputContainer:
        return self._open_with_ffmpeg(f"file:{self._film}", {})


def pictures(camera: FilmCamera) -> int:
    return sum(isinstance(item, Frame) for item in camera.frames([FrameSpec(48, 64)], camera.stop))


def test_a_device_is_found_or_the_reason_names_every_kind_of_ffmpegs() -> None:
    found = find_device()
    if found.kind is None:
        assert [part.partition(":")[0] for part in found.why.split("; ")] == hwdevices_available()
    else:
        assert why_unusable(found.kind) is None
    assert find_device() is found, "it is looked for once"


@pytest.mark.skipif(NEVER not in hwdevices_available(), reason=f"this FFmpeg was built without {NEVER}")
class TestADeviceThatDoesNotDecode:
    def test_the_reason_is_given(self) -> None:
        assert why_unusable(NEVER) == "does not decode h264 in this FFmpeg"

    def test_the_camera_is_decoded_in_software_and_one_line_reports_it(self, video: Callable[..., Path]) -> None:
        said: list[str] = []
        camera = FilmCamera(video("plain.mp4"), device=NEVER, on_software=said.append)
        assert pictures(camera) == 20
        assert said == [
            "camera gate: plain.mp4: decoding in software; drm: does not decode h264 in this FFmpeg",
        ]
        camera.stop.clear()
        assert pictures(camera) == 20
        assert len(said) == 1, "the device is given up, and not tried again"

    def test_a_device_that_cannot_decode_this_stream_is_given_up(
        self, video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "why_unusable", lambda _kind: None)  # a device that decodes other codecs
        said: list[str] = []
        assert pictures(FilmCamera(video("plain.mp4"), device=NEVER, on_software=said.append)) == 20
        assert said == ["camera gate: plain.mp4: decoding in software; drm: does not decode h264"]


def test_a_device_that_is_away_does_not_take_the_camera_along(video: Callable[..., Path]) -> None:
    if find_device().kind == "cuda" or "cuda" not in hwdevices_available():
        pytest.skip("this machine has the device, or FFmpeg was built without it")
    said: list[str] = []
    assert pictures(FilmCamera(video("plain.mp4"), device="cuda", on_software=said.append)) == 20
    (line,) = said
    assert line.startswith("camera gate: plain.mp4: decoding in software; cuda: cannot be opened (")
