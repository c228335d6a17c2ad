"""Recordings of which no clip can be cut, and why: the same for each container of one film."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.no_clips import sparse_part, why_no_clip
from pipeline.sources.base import SegmentOver
from pipeline.sources.files import FileSource
from pipeline.sources.frame_index import FrameIndex
from pipeline.windows import ClipSpec, ClipWindow, cut

SPEC = ClipSpec(frames=4, stride=2, height=32, width=32)
FPS = 25


def write_at(path: Path, seconds: Sequence[float]) -> Path:
    """A film of which the container states 25 pictures a second, and which has one at each of these times."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FPS, options={"bf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, second in enumerate(seconds):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 9 * number % 256, np.uint8), format="rgb24")
            picture.pts, picture.time_base = round(second * FPS), Fraction(1, FPS)
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
    return path


def read(path: Path, spec: ClipSpec = SPEC) -> tuple[list[ClipWindow], FrameIndex, list[str]]:
    """A recording's clips, its pictures, and what is said of damage."""
    damaged: list[str] = []
    source = FileSource("gate", path, on_damage=damaged.append)
    items = list(cut(source.frames([spec.frame_spec], threading.Event()), spec))
    return [item for item in items if not isinstance(item, SegmentOver)], source.seen, damaged


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "avi"])
def test_key_frames_alone_in_any_container(suffix, tmp_path):
    """A recorder's key frames, one in ten seconds: one segment, no clip, and the cause with the measured rate."""
    clips, index, damaged = read(write_at(tmp_path / f"keys.{suffix}", range(0, 120, 10)))
    assert (len(clips), len(index), damaged) == (0, 12, [])
    assert index.segments is not None
    assert len(index.segments) == 1
    assert why_no_clip(index, SPEC) == (
        "sparse footage: 12 frames, one in 10 s (0.1 a second); a clip needs 4, at most 5 s apart "
        "(for a model of such footage set the fps of clips to 0.1)"
    )


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_full_rate_and_then_key_frames(suffix, tmp_path):
    """Two seconds at 25 a second, then a picture every ten seconds: clips of the first part alone, and that is said."""
    times = [*(n / FPS for n in range(50)), *range(12, 72, 10)]
    clips, index, damaged = read(write_at(tmp_path / f"film.{suffix}", times))
    first = index.times[0]
    assert [clip.start - first for clip in clips] == pytest.approx([n / FPS for n in range(0, 47, 2)], abs=0.002)
    assert damaged == []
    assert sparse_part(index, SPEC) == (
        "6 of 56 frames are in no clip: one in 10 s, over 60 s; a clip needs 4, at most 5 s apart"
    )


def test_a_clip_spans_no_pause_of_a_slow_film(tmp_path):
    """A picture every two seconds is slow, and scored; eight seconds without one are a pause."""
    times = [*range(0, 10, 2), *range(16, 26, 2)]
    clips, index, _ = read(write_at(tmp_path / "film.mkv", times))
    assert [clip.start for clip in clips] == [0, 16]
    assert sparse_part(index, SPEC) is None
    slow = ClipSpec(frames=4, stride=2, height=32, width=32, fps=0.1)
    clips, _, _ = read(write_at(tmp_path / "lapse.mkv", range(0, 80, 10)), slow)
    assert [clip.start for clip in clips] == [0, 20, 40], "clips of one frame in ten seconds are what was asked for"


@pytest.mark.parametrize(
    ("times", "segments", "fps", "words"),
    [
        ([0, 0.1, 0.2], [0], None, "3 frames, too short for a clip of 4"),
        ([0, 0.1], [0], 5.0, "2 frames, too short for a clip of 4 at 5 a second (0.8 s)"),
        (
            [0, 0.1, 0.2, 0.3, 0.4],
            [0],
            5.0,
            "5 frames, the longest stretch of 0.5 s, too short for a clip of 4 at 5 a second (0.8 s)",
        ),
        (
            [0, 0.1, 0.2, 60, 60.1, 60.2],
            [0, 3],
            None,
            "6 frames in 2 stretches, the longest of 3; a clip needs 4 in one",
        ),
        (
            [0, 10, 20, 30],
            [0],
            10.0,
            "sparse footage: 4 frames, one in 10 s (0.1 a second); a clip needs 4 at 10 a second (0.4 s), "
            "at most 5 s apart (for a model of such footage set the fps of clips to 0.1)",
        ),
    ],
)
def test_the_real_reason(times, segments, fps, words):
    index = FrameIndex(np.array(times, np.float64), np.array(segments))
    assert why_no_clip(index, ClipSpec(frames=4, stride=2, height=32, width=32, fps=fps)) == words


def test_nothing_is_sparse_in_a_film_with_pauses():
    times = np.concatenate([start + np.arange(20) / 10 for start in (0, 60, 300)])
    assert sparse_part(FrameIndex(times, np.array([0, 20, 40])), SPEC) is None
