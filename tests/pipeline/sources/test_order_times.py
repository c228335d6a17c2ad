"""Films whose container does not say when each picture is shown: the order of the pictures says it."""

from __future__ import annotations

import threading
from pathlib import Path

import av
import numpy as np
import pytest
from pes_times import without_times
from tiny_films import damage

from pipeline.sources.base import EndReason, Frame, FrameSpec
from pipeline.sources.files import FileSource
from pipeline.sources.order_times import in_order, taken_too_early
from pipeline.windows import ClipSpec, ClipWindow, cut

FPS = 25
PICTURES = 60
NAN = float("nan")


@pytest.fixture(scope="module")
def film(video) -> Path:
    """60 pictures with B frames, 25 a second, in MP4, which states when each is shown."""
    return video("b25.mp4", seconds=PICTURES / FPS, fps=FPS, size="160x120", options=("-bf", "2", "-g", "20"))


def _copied(name: str, film: Path, folder: Path, ffmpeg) -> Path:
    """The same film in a container without presentation times, or with those of decoding in their stead."""
    path = folder / name
    if name.startswith("bare"):  # a raw stream, whose packets got the times at which they came
        raw, wrapped = folder / "raw.h264", folder / "wrapped.mp4"
        ffmpeg("-i", film, "-c", "copy", "-f", "h264", raw)
        ffmpeg("-fflags", "+genpts", "-r", str(FPS), "-i", raw, "-c", "copy", wrapped)
        ffmpeg("-fflags", "+genpts", "-ignore_editlist", "1", "-i", wrapped, "-c", "copy", path)
    else:
        ffmpeg("-i", film, "-c", "copy", path)
    return path


@pytest.mark.parametrize("name", ["film.avi", "film.asf", "bare.mkv", "bare.ts", "bare.flv"])
def test_every_picture_in_its_order_at_the_films_rate(name, film, ffmpeg, tmp_path, read):
    damaged: list[str] = []
    expected, _ = read(film)
    path = _copied(name, film, tmp_path, ffmpeg)
    frames, ends = read(path, on_damage=damaged.append)
    assert len(frames) == PICTURES
    assert all(np.array_equal(ours.image, theirs.image) for ours, theirs in zip(frames, expected, strict=True))
    assert np.diff([frame.pts_seconds for frame in frames]) == pytest.approx(1 / FPS, abs=1e-6)
    assert (damaged, [end.reason for end in ends]) == ([], [EndReason.STREAM_END])
    assert FileSource("cam", path).frame_times() == pytest.approx([frame.pts_seconds for frame in frames], abs=1e-9)


@pytest.mark.parametrize("codec", ["mpeg4", "libx265"])
def test_other_codecs_in_avi(codec, video, ffmpeg, tmp_path, read):
    options = ("-bf", "2") if codec == "mpeg4" else ("-x265-params", "bframes=3:log-level=none")
    film = video(f"b25-{codec}.mp4", seconds=2, fps=FPS, size="160x120", codec=codec, options=options)
    path = _copied("film.avi", film, tmp_path, ffmpeg)
    frames, _ = read(path)
    assert [frame.pts_seconds for frame in frames] == pytest.approx(np.arange(50) / FPS)
    pairs = zip(frames, read(film)[0], strict=True)
    assert all(np.array_equal(ours.image, theirs.image) for ours, theirs in pairs)
    assert FileSource("cam", path).frame_times() == pytest.approx(np.arange(50) / FPS)


def test_the_clips_are_those_of_the_mp4(film, ffmpeg, tmp_path):
    spec = ClipSpec(frames=8, stride=4, height=32, width=48, fps=12.5)

    def clips(path: Path) -> list[ClipWindow]:
        items = FileSource("cam", path, threads=1).frames([spec.frame_spec], threading.Event())
        return [item for item in cut(items, spec) if isinstance(item, ClipWindow)]

    ours, theirs = clips(_copied("film.avi", film, tmp_path, ffmpeg)), clips(film)
    assert len(ours) == len(theirs) == 6  # 30 frames at 12.5 a second
    for one, other in zip(ours, theirs, strict=True):
        assert (one.start, one.end) == pytest.approx((other.start, other.end))
        assert np.array_equal(one.pixels, other.pixels)


@pytest.fixture(scope="module")
def program_stream(ffmpeg, tmp_path_factory) -> Path:
    """200 pictures with B frames, 25 a second, in an MPEG program stream, whose blocks do not end where pictures do."""
    path = tmp_path_factory.mktemp("ps") / "film.ps"
    source = ("-f", "lavfi", "-i", f"testsrc2=size=320x240:rate={FPS}:duration=8")
    ffmpeg(*source, "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-f", "vob", path)
    return path


@pytest.mark.parametrize("keep_every", [1, 3, 40])
def test_some_pictures_bear_a_time(keep_every, program_stream, tmp_path, read):
    """Between those that bear one the others lie evenly."""
    path = without_times(program_stream, tmp_path / "some.ps", keep_every)
    damaged: list[str] = []
    frames, _ = read(path, on_damage=damaged.append)
    times = np.array([frame.pts_seconds for frame in frames])
    assert (len(frames), damaged) == (200, [])
    assert times - times[0] == pytest.approx(np.arange(200) / FPS, abs=0.5 / FPS)
    assert FileSource("cam", path).frame_times() == pytest.approx(times)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_lost_picture_keeps_its_place(threads, film, ffmpeg, tmp_path):
    """Two B frames that no other picture needs are lost: at most the pictures around them are off by one."""
    path = _copied("film.avi", film, tmp_path, ffmpeg)
    pictures = _pictures(FileSource("cam", path, threads=1))
    with av.open(str(film)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    nal_ref_idc = [packet[4] >> 5 & 3 for packet in packets]  # behind the length of the NAL unit
    bad = [number for number, needed in enumerate(nal_ref_idc) if not needed and number > 20][:2]
    source = FileSource("cam", damage(path, tmp_path / "damaged.avi", bad), threads=threads)
    shown = _pictures(source)
    assert len(shown) == PICTURES - 2
    assert len(source.seen) == len(source.frame_index()) == PICTURES
    assert source.seen.times == pytest.approx(np.arange(PICTURES) / FPS)
    numbers = [round(frame.pts_seconds * FPS) for frame in shown]
    wrong = [n for n, frame in zip(numbers, shown, strict=True) if not np.array_equal(frame.image, pictures[n].image)]
    assert all(abs(number - bad[0]) < 10 for number in wrong)


def _pictures(source: FileSource) -> list[Frame]:
    return [item for item in source.frames([FrameSpec(32, 32)], threading.Event()) if isinstance(item, Frame)]


def test_times_of_decoding_are_shifted_and_filled():
    """Four pictures of 10 ticks: key, P, B, B; the key picture is shown 10 after it is decoded."""
    keys = np.array([True, False, False, False])
    pts, dts = np.array([30.0, 60.0, 40.0, 50.0]), np.array([20.0, 30.0, 40.0, 50.0])
    assert in_order(pts, dts, keys, period=10, longest_step=100).tolist() == [30, 40, 50, 60]
    some = np.array([30.0, NAN, NAN, NAN]), np.array([20.0, NAN, NAN, 50.0])
    assert in_order(*some, keys, period=7, longest_step=100).tolist() == [30, 40, 50, 60]
    late = np.array([NAN, NAN, NAN, NAN]), np.array([NAN, 30.0, NAN, NAN])
    assert in_order(*late, keys, period=10, longest_step=100).tolist() == [20, 30, 40, 50]


def test_a_pause_is_not_filled_and_a_clock_may_be_set_back():
    keys = np.ones(4, np.bool_)
    none = np.full(4, NAN)
    paused = np.array([0.0, NAN, NAN, 900.0])
    assert in_order(none, paused, keys, period=10, longest_step=100).tolist() == [0, 10, 20, 900]
    back = np.array([500.0, 510.0, 0.0, 10.0])
    pts = np.array([510.0, 520.0, 0.0, 10.0])
    assert in_order(pts, back, keys, period=10, longest_step=100).tolist() == [510, 520, 0, 10]


def test_a_time_is_moved_to_the_picture_that_it_belongs_to():
    missing = float("nan")
    # 25 a second: picture 4 is decoded at 0.16 s and 5 at 0.20 s, but the parser gave 0.20 s to 4 and nothing to 5.
    assert taken_too_early(np.array([0.0, 0.04, 0.08, 0.12, 0.20, missing, 0.24, 0.28])) == [4]
    # Times that are merely absent stay where they are, also when they are rounded to milliseconds.
    assert not taken_too_early(np.array([0.0, 0.04, 0.08, missing, 0.16, 0.20, missing, missing, 0.32]))
    assert not taken_too_early(np.array([0.0, 0.033, 0.067, missing, 0.133, missing, 0.2, 0.233, missing, 0.3]))
    # Nor is a pause before a picture with a time a fault of the parser.
    assert not taken_too_early(np.array([0.0, 0.04, 3.0, missing, 3.08, 3.12]))
