"""Which of several video streams is watched."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from models.data.extraction import content_of
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.manifests.manifest import ManifestError, open_video, read_manifest
from pipeline.runs.folder import VideoRow
from pipeline.runs.recordings import recording_of, wanted
from pipeline.sources.base import Frame, FrameSpec, SourceError
from pipeline.sources.files import FileSource
from pipeline.sources.joined import JoinedSource, Part
from pipeline.sources.video_streams import NoVideoStream, choose_video_stream, describe_choice, video_streams


def write_streams(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """A film with a video stream for each size, ten grey pictures in each: those of stream n are grey 60 n."""
    with av.open(str(path), "w") as film:
        streams = []
        for width, height in sizes:
            stream = film.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for _ in range(10):
            for number, stream in enumerate(streams):
                grey = np.full((stream.height, stream.width, 3), 60 * number, np.uint8)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        for stream in streams:
            film.mux(stream.encode())
    return path


def test_the_first_unless_another_one_is_named(tmp_path):
    with av.open(str(write_streams(tmp_path / "two.mp4", [(64, 48), (96, 80)]))) as film:
        assert choose_video_stream(film).width == 64
        assert choose_video_stream(film, 0).width == 64
        assert choose_video_stream(film, 1).width == 96
        assert describe_choice(film, choose_video_stream(film, 1)) == (
            "2 video streams: 0 (mpeg4 64x48 10 fps), 1 (mpeg4 96x80 10 fps); watching 1"
        )


def test_one_stream_needs_no_words(tmp_path):
    with av.open(str(write_streams(tmp_path / "one.mp4", [(64, 48)]))) as film:
        assert describe_choice(film, choose_video_stream(film)) is None


@pytest.mark.parametrize("wanted", [2, -1])
def test_a_number_that_is_not_there(wanted, tmp_path):
    with (
        av.open(str(write_streams(tmp_path / "two.mp4", [(64, 48), (96, 80)]))) as film,
        pytest.raises(NoVideoStream, match=rf"no video stream {wanted}; it has 0 \(mpeg4 64x48 10 fps\), 1"),
    ):
        choose_video_stream(film, wanted)


def test_a_cover_picture_is_not_a_film(tmp_path):
    """The cover stands before the film, as music players write it."""
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as film:
        cover, moving = film.add_stream("mjpeg", rate=1), film.add_stream("mpeg4", rate=10)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        moving.width, moving.height, moving.pix_fmt = 64, 48, "yuv420p"
        cover.disposition = av.stream.Disposition.attached_pic
        film.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        for _ in range(5):
            film.mux(moving.encode(av.VideoFrame(64, 48, "yuv420p")))
        film.mux(moving.encode())
    with av.open(str(path)) as film:
        assert len(film.streams.video) == 2
        assert [stream.width for stream in video_streams(film)] == [64]
        assert describe_choice(film, choose_video_stream(film)) is None


def test_sound_alone(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as film:
        film.add_stream("pcm_s16le", rate=8000)
        film.start_encoding()
        sound = av.AudioFrame(format="s16", layout="mono", samples=80)
        sound.sample_rate = 8000
        film.mux(film.streams.audio[0].encode(sound))
    with av.open(str(path)) as film, pytest.raises(NoVideoStream, match="holds no video stream"):
        choose_video_stream(film)


def test_a_recording_reads_the_stream_of_its_number(tmp_path):
    """Frames, index, identity and length are those of the stream; each stream's pictures have a grey of their own."""
    path = write_streams(tmp_path / "two.mp4", [(64, 48), (96, 80)])
    greys, hashes, choices = [], [], []
    for number in (None, 0, 1):
        source = FileSource("cam", path, video_stream=number, on_choice=choices.append)
        frames = [item for item in source.frames([FrameSpec(16, 16)], threading.Event()) if isinstance(item, Frame)]
        greys.append({round(float(frame.image.mean()) / 60) for frame in frames})
        hashes.append({source.content_hash, *(frame.segment.id.rpartition("/")[0] for frame in frames)})
        assert len(frames) == len(source.frame_index()) == 10
    assert greys == [{0}, {0}, {1}]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[2]) == 1
    assert [choice[-10:] for choice in choices] == ["watching 0", "watching 0", "watching 1"]
    with pytest.raises(SourceError, match="no video stream 2; it has 0 ") as caught:
        FileSource("cam", path, video_stream=2).check()
    assert caught.value.code == "no_video_stream"


def test_an_archive_reads_the_stream_in_every_file_and_names_it_once(tmp_path):
    files = [write_streams(tmp_path / f"{name}.mp4", [(64, 48), (96, 80)]) for name in "ab"]
    found = []
    for number, grey in ((None, 0), (1, 1)):
        choices: list[str] = []
        parts = [Part(file) for file in files]
        source = JoinedSource("cam", parts, video_stream=number, on_choice=choices.append)
        frames = [item for item in source.frames([FrameSpec(16, 16)], threading.Event()) if isinstance(item, Frame)]
        assert len(frames) == 20
        assert {round(float(frame.image.mean()) / 60) for frame in frames} == {grey}
        assert [choice[-10:] for choice in choices] == [f"watching {grey}"]
        found.append(source.content_hash)
    assert found[0] != found[1]


def test_a_run_opens_the_stream_that_it_has_scored(tmp_path):
    path = write_streams(tmp_path / "two.mp4", [(64, 48), (96, 80)])
    (one,) = wanted([path])
    first, second = one.row(), replace(one, stream=1).row()
    assert "stream" not in first.model_dump()
    again = VideoRow.model_validate_json(second.model_dump_json())
    assert recording_of(again).content_hash == FileSource("cam", path, video_stream=1).content_hash
    assert recording_of(first).content_hash == FileSource("cam", path).content_hash


def test_thumbnails_are_of_the_stream(tmp_path):
    path = write_streams(tmp_path / "two.mp4", [(64, 48), (96, 80)])
    assert thumbnails(path, [4])[4].rgb.mean() < 10
    assert thumbnails(path, [4], video_stream=1)[4].rgb.mean() == pytest.approx(60, abs=5)


def test_a_manifest_names_the_stream(tmp_path):
    """A replay, the check of a manifest and the training read the same one."""
    path = write_streams(tmp_path / "two.mp4", [(64, 48), (96, 80)])
    manifest = tmp_path / "videos.jsonl"
    manifest.write_text('{"path": "two.mp4", "label": 0, "stream": 1}\n')
    expected = FileSource("cam", path, video_stream=1).content_hash
    (video,) = read_manifest(manifest)
    assert open_video(video).content_hash == expected
    assert content_of(video) == expected
    (one,) = wanted([manifest])
    assert one.open().content_hash == expected
    (tmp_path / "pictures").mkdir()
    manifest.write_text('{"path": "pictures", "label": 0, "fps": 5.0, "stream": 1}\n')
    with pytest.raises(ManifestError, match="stream is for a film only"):
        read_manifest(manifest)
