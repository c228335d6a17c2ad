"""From what an operator writes to a source, or to one clear line."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import av
import numpy as np
import pytest
from archives import archive

from pipeline.sources.base import EndReason, Frame, FrameSpec, Segment, SegmentOver, SourceError
from pipeline.sources.device import DeviceSource
from pipeline.sources.factory import SOURCES, SourceOptions, open_source
from pipeline.sources.files import FileSource
from pipeline.sources.http import HttpSource, SnapshotSource
from pipeline.sources.joined import JoinedSource
from pipeline.sources.rtsp import RtspSource
from pipeline.windows import ClipSpec, ClipWindow, cut


def test_a_path_is_a_recording(video):
    path = video("plain.mp4")
    for location in (str(path), path.as_uri()):
        source = open_source("gate", location)
        assert isinstance(source, FileSource)
        assert (source.camera, source.live, source.path) == ("gate", False, path)


def test_a_folder_of_one_cameras_files_is_one_recording(tmp_path):
    _, files = archive(tmp_path / "films", [40] * 60)
    source = open_source("gate", str(tmp_path / "films"), SourceOptions(started_at="2024-05-01T18:00:00+02:00"))
    assert isinstance(source, JoinedSource)
    assert (source.camera, source.live, len(source.parts)) == ("gate", False, 3)
    frames = [one for one in source.frames([FrameSpec(60, 80)], threading.Event()) if isinstance(one, Frame)]
    assert (len(frames), len({frame.segment for frame in frames})) == (60, 1)
    assert frames[0].taken_at == datetime(2024, 5, 1, 16, tzinfo=UTC)
    files[0].rename(tmp_path / "films" / "film.mp4")
    with pytest.raises(SourceError, match=r"more than one camera \(gate and 1 other file\); name the folder of one"):
        open_source("gate", str(tmp_path / "films"))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "a folder without videos; expected a video, or a folder"),
        (["notes.txt"], r"a folder without videos \(passed over 1 file not recognised as video \(1 \.txt\): "),
        (["a.mp4", "b.mp4"], "holds 2 videos, and their names state no date and time; name a video"),
        (
            [f"2024-05-01/13/{one}.mp4" for one in ("gate/00.00", "gate/00.10", "yard/00.00", "yard/00.10")],
            "gate, yard",
        ),
    ],
)
def test_other_folders_are_refused_in_one_line(tmp_path, names, problem):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=problem) as raised:
        open_source("gate", str(tmp_path))
    assert raised.value.code == "usage"
    assert "\n" not in str(raised.value)


def test_a_path_with_spaces_and_signs(video, tmp_path):
    path = tmp_path / "gate #1 100% (ä).mp4"
    path.write_bytes(video("plain.mp4").read_bytes())
    for location in (str(path), path.as_uri()):
        frames = open_source("gate", location).frames([FrameSpec(60, 80)], threading.Event())
        assert sum(isinstance(frame, Frame) for frame in frames) == 20


@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "rtsps"])
def test_rtsp_is_a_camera(scheme):
    source = open_source("gate", f"{scheme}://127.0.0.1:1/x", SourceOptions(user="u", password="s3cr3t"))
    assert isinstance(source, RtspSource)
    assert (source.camera, source.live) == ("gate", True)
    assert "s3cr3t" not in repr(source)


@pytest.mark.parametrize(
    ("location", "snapshot_seconds", "kind"),
    [
        ("http://u:s3cr3t@127.0.0.1:1/x", None, HttpSource),
        ("HTTPS://127.0.0.1:1/x.jpg", 2.0, SnapshotSource),
        ("device:///dev/video0", 2.0, DeviceSource),
    ],
)
def test_further_kinds_of_cameras(location, snapshot_seconds, kind):
    options = SourceOptions(user="u", password="s3cr3t", snapshot_seconds=snapshot_seconds)
    source = open_source("gate", location, options)
    assert type(source) is kind
    assert (source.camera, source.live) == ("gate", True)
    assert "s3cr3t" not in repr(source)


def test_start_time(video):
    source = open_source("gate", str(video("plain.mp4")), SourceOptions(started_at="2024-05-01T20:00:00+02:00"))
    frame = next(iter(source.frames([FrameSpec(60, 80)], threading.Event())))
    assert isinstance(frame, Frame)
    assert frame.taken_at == datetime(2024, 5, 1, 18, tzinfo=UTC)


def test_options_do_not_show_the_password():
    assert "s3cr3t" not in repr(SourceOptions(password="s3cr3t"))


@pytest.mark.parametrize(
    ("location", "options", "code", "words"),
    [
        ("none.mp4", {}, "not_found", ["none.mp4", "no such file"]),
        ("no\nsuch.mp4", {}, "not_found", ["no\\nsuch.mp4"]),
        ("file:///none.mp4", {}, "not_found", ["/none.mp4"]),
        ("", {}, "usage", ["empty", "path of a file"]),
        (" ", {}, "usage", ["empty"]),
        ("file://", {}, "usage", ["empty"]),
        ("ftp://u:s3cr3t@h/x.mp4", {}, "usage", ["ftp://", "rtsp://", "file"]),
        ("rtsp:///x", {}, "usage", ["rtsp://HOST"]),
        ("rtsp://h:port/x", {}, "usage", ["port"]),
        ("rtsp://h:0/x", {}, "usage", ["port"]),
        ("rtsp://h:99999/x", {}, "usage", ["port"]),
        ("rtsp://admin:s3cr3t/s3cr3t@h/x", {}, "usage", ["rtsp://***: ", "percent-encode", "%2F", "give both apart"]),
        ("rtsp://admin:12345/s3cr3t@h/x", {}, "usage", ["rtsp://***: ", "percent-encode"]),
        ("device://[ev/video0", {}, "usage", ["device:///dev/video0"]),
        ("none.mp4", {"started_at": "9999-12-31T23:59:59-23:59"}, "usage", ["start time", "9999-12-31T23:59:59-23:59"]),
        ("device://host/dev/video0", {}, "usage", ["device:///dev/video0"]),
        ("https://h:port/x", {"snapshot_seconds": 1.0}, "usage", ["port"]),
        ("rtsp://h/x\r\nEvil: 1", {}, "usage", ["control character"]),
        ("rtsp://h/x", {"password": "s3cr3t"}, "usage", ["user name"]),
        ("rtsp://h/x", {"transport": "quic"}, "usage", ["tcp or udp", "'quic'"]),
        ("rtsp://h/x", {"open_timeout_seconds": 0.0}, "usage", ["above 0"]),
        ("rtsp://h/x", {"read_timeout_seconds": -1.0}, "usage", ["above 0"]),
        ("rtsp://h/x", {"user": "u", "password": "s3cr3t" * 30}, "usage", ["127 bytes"]),
    ],
)
def test_one_clear_line(location, options, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as caught:
        open_source("gate", location, SourceOptions(**options))
    text = str(caught.value)
    assert caught.value.code == code
    assert "\n" not in text
    assert "\r" not in text
    assert "s3cr3t" not in text
    for word in ("camera gate", *words):
        assert word in text


@pytest.mark.parametrize("stated", ["yesterday", "18:00", "2024-13-01T00:00:00Z"])
def test_start_time_that_is_none(stated, video):
    with pytest.raises(SourceError, match="ISO 8601") as caught:
        open_source("gate", str(video("plain.mp4")), SourceOptions(started_at=stated))
    assert caught.value.code == "usage"


def test_start_time_without_offset(video):
    with pytest.raises(SourceError, match="UTC offset"):
        open_source("gate", str(video("plain.mp4")), SourceOptions(started_at="2024-05-01T20:00:00"))


def test_not_a_video(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_text("hello")
    with pytest.raises(SourceError) as caught:
        open_source("gate", str(path))
    assert caught.value.code == "not_a_video"


class Still:
    """A source of a test's own: one grey picture, a given number of times."""

    def __init__(self, camera: str, count: int) -> None:
        self.camera = camera
        self.live = False
        self._count = count

    def frames(self, specs: Sequence[FrameSpec], _stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        segment = Segment("still", self.camera, self.live)
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
        for number in range(self._count):
            images = {spec: np.full((spec.height, spec.width, 3), 128, np.uint8) for spec in specs}
            yield Frame(segment, number / 10, None, datetime.now(UTC), images, picture)
        yield SegmentOver(segment, EndReason.STREAM_END)


def test_a_kind_of_source_is_added_with_one_line_in_the_table(monkeypatch):
    monkeypatch.setitem(SOURCES, "still", lambda camera, location, *_: Still(camera, int(location.rpartition("/")[2])))
    source = open_source("gate", "still://any/5")
    spec = ClipSpec(frames=2, stride=2, height=48, width=64)
    clips = list(cut(source.frames([spec.frame_spec], threading.Event()), spec))
    assert [clip.index for clip in clips if isinstance(clip, ClipWindow)] == [0, 1]
    assert isinstance(clips[-1], SegmentOver)
    with pytest.raises(SourceError, match=r"expected .*still://… or a file"):
        open_source("gate", "stil://any/5")
