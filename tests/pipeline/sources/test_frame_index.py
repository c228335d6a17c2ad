"""Which picture is shown when: read from the container, and written down while decoding, it is the same."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tiny_films import frame_folder

from pipeline.sources.base import FrameSpec
from pipeline.sources.files import FileSource
from pipeline.sources.frame_index import FrameIndex, FrameLog
from pipeline.sources.recordings import open_recording
from pipeline.windows import ClipSpec, ClipWindow, cut

SMALL = FrameSpec(16, 16)


@pytest.fixture(scope="module")
def films(video, ffmpeg, tmp_path_factory):
    """Films by name: plain ones, and such as give trouble."""
    folder = tmp_path_factory.mktemp("films")
    plain, large = video("plain.mp4"), video("large.mp4", size="640x480")
    found = {"plain": plain, "b-frames": video("b.mp4", options=("-bf", "3", "-g", "20"))}
    ffmpeg("-i", plain, "-c", "copy", folder / "a.ts")
    for name, film, offset in [("jump-back", plain, "0"), ("jump-on", plain, "60"), ("two-sizes", large, "2")]:
        ffmpeg("-i", film, "-c", "copy", "-output_ts_offset", offset, folder / "b.ts")
        found[name] = folder / f"{name}.ts"
        found[name].write_bytes((folder / "a.ts").read_bytes() + (folder / "b.ts").read_bytes())
    found["a-little-back"] = folder / "little.ts"
    ffmpeg("-i", plain, "-c", "copy", "-output_ts_offset", "1.5", folder / "b.ts")
    found["a-little-back"].write_bytes((folder / "a.ts").read_bytes() + (folder / "b.ts").read_bytes())
    found["cut"] = folder / "cut.mp4"  # from the middle of a group of pictures: an edit list hides the first ones
    ffmpeg("-ss", "0.75", "-i", found["b-frames"], "-c", "copy", found["cut"])
    return found


@pytest.mark.parametrize("name", ["plain", "b-frames", "cut", "jump-back", "jump-on", "two-sizes", "a-little-back"])
def test_what_the_container_says_is_what_is_decoded(name, films, ffmpeg):
    source = FileSource("cam", films[name])
    list(source.frames([SMALL], threading.Event()))
    assert len(source.seen) == len(source.frame_index())
    assert source.frame_index().times == pytest.approx(source.seen.times)
    grey = ("-vf", "scale=16:16,format=gray", "-fps_mode", "passthrough", "-f", "rawvideo", "-")
    assert len(source.seen) == len(ffmpeg("-i", films[name], *grey)) // 256


@pytest.mark.parametrize("fps", [None, 5.0])
def test_a_clip_finds_its_frames_after_the_clock_has_jumped_back(fps, films):
    """Two takes of 20 pictures at the same times: each clip's span is its own take's."""
    source = FileSource("cam", films["jump-back"])
    spec = ClipSpec(frames=4, stride=4, height=16, width=16, fps=fps)
    windows = [w for w in cut(source.frames([spec.frame_spec], threading.Event()), spec) if isinstance(w, ClipWindow)]
    length = 4 if fps is None else 8
    for index in (source.seen, source.frame_index()):
        spans = [index.span(int(w.segment.id.rpartition("/")[2]), w.start, w.end) for w in windows]
        take = [(at, at + length) for at in range(0, 20 - length + 1, length)]
        assert spans == take + [(first + 20, end + 20) for first, end in take]


def test_one_clock_needs_no_segments():
    index = FrameIndex(np.array([0.0, 0.1, 0.2, 8.0, 8.1]))
    assert index.span(0, 0.1, 0.3) == (1, 3)
    assert index.span(1, 8.0, 8.2) == (3, 5)


def test_what_the_log_writes_down():
    """A picture without a time before the first segment, one that is an echo, then a jump back."""
    log = FrameLog()
    log.picture(None)
    log.picture(1.0, first=True)
    log.picture(None)
    log.picture(1.1)
    log.picture(0.0, first=True)
    log.picture(0.1)
    assert log.index.segments is not None
    assert log.index.segments.tolist() == [1, 4]
    assert log.index.times.tolist() == [float("-inf"), 1.0, 1.0, 1.1, 0.0, 0.1]
    assert log.index.span(0, 1.0, 1.2) == (1, 4)
    assert log.index.span(1, 0.0, 0.1) == (4, 5)


def test_a_picture_that_cannot_be_decoded_counts_in_a_folder(tmp_path):
    folder = frame_folder(tmp_path / "pictures", 6)
    (folder / "001.jpg").write_bytes(b"no picture")
    source = open_recording(folder, fps=10.0)
    frames = [item.pts_seconds for item in source.frames([SMALL], threading.Event()) if hasattr(item, "image")]
    assert frames == pytest.approx([0.0, 0.2, 0.3, 0.4, 0.5])
    assert source.seen.span(0, 0.2, 0.4) == (2, 4)
