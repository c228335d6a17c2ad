"""Decoded clips: those that are cut live, kept by content and settings, never half of them."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from models.data.clip_store import ClipStore
from models.data.extraction import FeaturesError
from models.data.npy_rows import NpyFile
from pipeline.sources.base import Frame
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec

CLIP = ClipSpec(frames=4, stride=2, height=24, width=32)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for ordinal in range(9):
            small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = av.VideoFrame.from_ndarray(small.repeat(8, 0).repeat(8, 1), format="rgb24")
            picture.pts = ordinal
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def test_are_the_frames_of_the_video(video, tmp_path):
    source = FileSource("a", video).frames([CLIP.frame_spec], threading.Event())
    frames = [item.image for item in source if isinstance(item, Frame)]
    clips = ClipStore(CLIP, folder=tmp_path).of(video)
    assert isinstance(clips.pixels, NpyFile)
    np.testing.assert_array_equal(clips.pixels, [frames[start : start + 4] for start in (0, 2, 4)])
    assert clips.segments.tolist() == [0, 0, 0]
    np.testing.assert_allclose(clips.starts, [0, 2 / 25, 4 / 25])
    np.testing.assert_allclose(clips.ends, clips.starts + 4 / 25)


def test_are_decoded_once_for_the_same_settings(video, tmp_path):
    for clip, decoded in ((CLIP, 1), (CLIP, 0), (replace(CLIP, stride=4), 1)):
        store = ClipStore(clip, folder=tmp_path)
        assert store.of(video).pixels.shape == (3 if clip is CLIP else 2, 4, 24, 32, 3)
        assert store.computed == decoded
    assert len(list(tmp_path.iterdir())) == 2


def test_a_video_shorter_than_a_clip_has_none(video, tmp_path):
    assert ClipStore(replace(CLIP, frames=16), folder=tmp_path).of(video).pixels.shape == (0, 16, 24, 32, 3)


def test_half_a_file_is_decoded_again(video, tmp_path):
    expected = np.array(ClipStore(CLIP, folder=tmp_path).of(video).pixels)
    (file,) = tmp_path.glob("*/clips.npy")
    file.write_bytes(file.read_bytes()[:-1])
    store = ClipStore(CLIP, folder=tmp_path)
    np.testing.assert_array_equal(store.of(video).pixels, expected)
    assert store.computed == 1


def test_of_many_videos_no_file_stays_open(video, tmp_path, open_files_limit):
    store = ClipStore(CLIP, folder=tmp_path)
    first = store.of(video)
    with open_files_limit(20):
        held = [store.of(video) for _ in range(50)]  # as of fifty videos: each opens its file anew
        assert all(np.array_equal(clips.pixels[:1], first.pixels[:1]) for clips in held)


def test_what_killed_runs_left_goes_with_the_next_video(video, tmp_path):
    left = tmp_path / f"0123.{socket.gethostname()}.99999999-0.tmp"
    left.mkdir()
    ClipStore(CLIP, folder=tmp_path).of(video)
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_video_is_told_by_name(tmp_path):
    (tmp_path / "b.mp4").write_text("no video")
    with pytest.raises(FeaturesError, match=r"b\.mp4"):
        ClipStore(CLIP, folder=tmp_path / "clips").of(tmp_path / "b.mp4")
    assert not list((tmp_path / "clips").glob("*"))
