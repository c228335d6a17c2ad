"""Recording a camera's stream: the same pictures at the same times, in films that a stop or a new connection ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import av
import cv2
import numpy as np
import pytest
from stamped_camera import TICKS, StampedCamera
from watched_camera import GENEROUS_SECONDS, QUICK
from web_camera import WebCamera, at_rate

from pipeline.errors import UsageError
from pipeline.sources import stream_films
from pipeline.sources.base import Frame, SourceError
from pipeline.sources.connection import LiveStream, Received
from pipeline.sources.http import HttpSource
from pipeline.sources.reconnect import Outage
from pipeline.sources.rtsp import RtspSource
from pipeline.sources.stream_films import record

Read = Callable[[Path], tuple[list[Frame], object]]


def camera(url: str, kind: Callable[..., LiveStream] = RtspSource, outages: list[Outage] | None = None) -> LiveStream:
    limits = {"open_timeout_seconds": GENEROUS_SECONDS, "read_timeout_seconds": GENEROUS_SECONDS}
    return kind("gate", url, backoff=QUICK, on_outage=None if outages is None else outages.append, **limits)


def test_the_pictures_of_a_file_in_a_film_for_each_connection(
    rtsp: ModuleType, video: Callable[..., Path], read: Read, tmp_path: Path
) -> None:
    """With B-frames: each picture is the file's own, at the same distance from the first one."""
    path = video("street.mp4", seconds=3, fps=25, options=("-bf", "3", "-g", "25"))
    expected = [frame.image for frame in read(path)[0]]
    outages: list[Outage] = []
    folder = tmp_path / "films"
    with rtsp.serve_file(path) as server:
        assert record(camera(server.url, outages=outages), folder, 3.5, stop=threading.Event()) >= 3.5
    assert [outage.code for outage in outages] == ["stream_end"]
    first, second = (read(film)[0] for film in sorted(folder.iterdir()))
    assert len(first) >= 45  # of the 75, the first few fall to the start of the stream and the last to its end
    assert len(second) >= 10
    for frames in (first, second):
        start = next(at for at, image in enumerate(expected) if np.array_equal(image, frames[0].image))
        for frame in frames:
            ordinal = start + round((frame.pts_seconds - frames[0].pts_seconds) * 25)
            assert np.array_equal(frame.image, expected[ordinal])


def test_a_stopped_recording_resumes(rtsp: ModuleType, read: Read, tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def progress(seconds: float) -> None:
        seen.append(seconds)
        if seconds >= 1:
            stop.set()

    with rtsp.serve_live() as server:
        done = record(camera(server.url), tmp_path, 3.0, stop=stop, progress=progress)
        assert 1 <= done < 2
        assert seen == sorted(seen)
        assert record(camera(server.url), tmp_path, 3.0, stop=threading.Event()) >= 3
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["0001.mkv", "0002.mkv"]
    seconds = sum(
        frames[-1].pts_seconds - frames[0].pts_seconds for frames in (read(tmp_path / name)[0] for name in names)
    )
    assert 2.7 <= seconds <= 3.3
    # Nothing is left to record, so no connection is made.
    assert record(camera("rtsp://127.0.0.1:9/cam"), tmp_path, 3.0, stop=threading.Event()) >= 2.9
    yard = RtspSource("yard", "rtsp://127.0.0.1:9/cam")
    with pytest.raises(UsageError, match=r"0001\.mkv: a film of another camera \(got gate\); expected yard; choose"):
        record(yard, tmp_path, 30.0, stop=threading.Event())


def test_films_of_a_few_minutes(rtsp: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film ends at a key frame, so that each can be read by itself."""
    monkeypatch.setattr(stream_films, "FILM_SECONDS", 0.5)
    with rtsp.serve_live() as server:
        record(camera(server.url), tmp_path, 4.0, stop=threading.Event())
    assert len(list(tmp_path.iterdir())) > 1


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", np.full((120, 160, 3), number * 10 % 250, np.uint8))[1].tobytes()


def test_motion_jpeg_has_the_times_of_its_arrival(read: Read, tmp_path: Path) -> None:
    """FFmpeg would make up 25 pictures a second."""
    with WebCamera() as server:
        server.pages["/mjpeg"] = server.multipart(lambda: at_rate(jpeg, 10))
        record(camera(server.url("/mjpeg"), HttpSource), tmp_path, 2.0, stop=threading.Event())
    frames = read(tmp_path / "0001.mkv")[0]
    assert 15 <= len(frames) <= 30  # those that come while FFmpeg looks at the stream come at once


def test_times_that_stand_still(rtsp: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_films, "_STANDING_PACKETS", 10)
    with (
        rtsp.serve_live() as server,
        StampedCamera(("127.0.0.1", server.port), lambda _number, _stamp: 90_000) as stamped,
        pytest.raises(SourceError) as caught,
    ):
        record(camera(stamped.url("cam")), tmp_path, 60.0, stop=threading.Event())
    assert str(caught.value) == (
        "camera gate: the times of its stream do not rise; expected ones that do, to record it; mend the camera's "
        "clock, or learn from recordings of it"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_set_ahead_begins_another_film(rtsp: ModuleType, tmp_path: Path) -> None:
    """The hour that was never filmed does not count as recorded."""
    hour = 3600 * TICKS
    with (
        rtsp.serve_live() as server,
        StampedCamera(("127.0.0.1", server.port), lambda number, stamp: stamp + hour * (number > 15)) as stamped,
    ):
        done = record(camera(stamped.url("cam")), tmp_path, 4.0, stop=threading.Event())
    assert 4 <= done < 5
    assert len(list(tmp_path.iterdir())) == 2


class WithoutKeyFrames:
    """The packets of a film but its key frames, again and again."""

    camera = "gate"

    def __init__(self, film: Path) -> None:
        self._film = film

    def packets(self, stop: threading.Event) -> Iterator[Received]:
        while not stop.is_set():
            with av.open(str(self._film)) as container:
                stream = container.streams.video[0]
                yield from (Received(packet, stream) for packet in container.demux(stream) if not packet.is_keyframe)


def test_a_stream_without_key_frames(
    video: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_films, "_KEY_FRAME_SECONDS", 0.2)
    source = WithoutKeyFrames(video("street.mp4", seconds=3, fps=25, options=("-bf", "3", "-g", "25")))
    with pytest.raises(SourceError, match="camera gate: no key frame with a time stamp in 0 s; expected one") as caught:
        record(cast("LiveStream", source), tmp_path, 60.0, stop=threading.Event())
    assert caught.value.exit_status == 1


def test_other_files_in_the_folder(tmp_path: Path, rtsp: ModuleType) -> None:
    """Only films with the names of this recording count."""
    (tmp_path / "2026-11-30.mkv").write_text("not one of the films")
    with rtsp.serve_live() as server:
        assert record(camera(server.url), tmp_path, 1.0, stop=threading.Event()) >= 1
    assert (tmp_path / "0001.mkv").exists()


def test_a_folder_that_cannot_be_written(rtsp: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "films").write_text("a file")
    with pytest.raises(FileExistsError):
        record(camera("rtsp://127.0.0.1:9/cam"), tmp_path / "films", 2.0, stop=threading.Event())
