"""Recordings that are not as one wishes, through source and cutter: every one has a defined outcome."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import numpy as np
import pytest
from gray_films import write_film
from tiny_films import stamped, two_takes

from pipeline.sources.base import EndReason, SegmentOver, SourceError
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow, cut

SPEC = ClipSpec(frames=4, stride=4, height=32, width=48)


@dataclass
class Outcome:
    """What became of a recording."""

    windows: list[ClipWindow] = field(default_factory=list)
    ends: list[EndReason] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    frames: int = 0

    @property
    def times(self) -> np.ndarray:
        """(clips, 2): when each begins and ends, seconds."""
        return np.array([(window.start, window.end) for window in self.windows])


def outcome(path: Path, spec: ClipSpec = SPEC) -> Outcome:
    found = Outcome()
    source = FileSource("gate", path, on_damage=found.damage.append, threads=1)
    for item in cut(source.frames([spec.frame_spec], threading.Event()), spec):
        if isinstance(item, SegmentOver):
            found.ends.append(item.reason)
        else:
            found.windows.append(item)
    found.frames = len(source.seen)
    assert all("\n" not in line and str(path) in line for line in found.damage)
    return found


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """22 pictures at 10 a second, of 10, 20, … 220: every picture is a key picture, and tells its number."""
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", [10 * n for n in range(1, 23)], fps=10)


def test_a_whole_one(film):
    found = outcome(film)
    assert found.times == pytest.approx(np.array([(0.4 * n, 0.4 * (n + 1)) for n in range(5)]))
    assert (found.ends, found.damage, found.frames) == ([EndReason.STREAM_END], [], 22)


def test_cut_off(film, tmp_path):
    """What is there is cut into clips as if nothing had happened, and the damage is told."""
    path = tmp_path / "cut.mkv"
    content = film.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    found, whole = outcome(path), outcome(film)
    assert 2 <= len(found.windows) < 5
    for ours, theirs in zip(found.windows, whole.windows, strict=False):
        assert (ours.start, ours.end) == (theirs.start, theirs.end)
        assert np.array_equal(ours.pixels, theirs.pixels)
    assert found.ends == [EndReason.ERROR]
    assert "cut off" in found.damage[0]


def test_an_mp4_that_was_never_finished(tmp_path):
    path = tmp_path / "recording.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 48, 32
        for _ in range(8):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])  # the index, at the end, was never written
    with pytest.raises(SourceError, match="without its index") as caught:
        outcome(path)
    assert caught.value.code == "not_a_video"


def test_gone_since_it_was_named(film, tmp_path):
    path = tmp_path / "film.mkv"
    path.write_bytes(film.read_bytes())
    source = FileSource("gate", path)
    path.unlink()
    with pytest.raises(SourceError, match="camera gate: "):
        source.check()


def test_variable_rate(tmp_path):
    """A clip is so many frames, and lasts as long as they do: its last frame as long as its others, by the median."""
    times = [0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 2.04, 2.08, 2.12, 2.16]
    found = outcome(stamped(tmp_path / "film.nut", times))
    assert found.times == pytest.approx(np.array([(0.0, 0.4), (0.5, 2.5), (2.04, 2.2)]), abs=0.002)
    assert [window.pixels[0, 0, 0, 0] for window in found.windows] == [0, 4, 8]
    assert (found.ends, found.damage) == ([EndReason.STREAM_END], [])


def test_variable_rate_on_a_grid(tmp_path):
    """At 5 a second: one of two pictures where there are ten, every one where there are two."""
    times = [n / 10 for n in range(8)] + [0.8 + n / 2 for n in range(6)]
    spec = ClipSpec(frames=4, stride=4, height=32, width=48, fps=5)
    found = outcome(stamped(tmp_path / "film.nut", times), spec)
    assert [list(window.pixels[:, 0, 0, 0]) for window in found.windows] == [[0, 2, 4, 6], [8, 9, 10, 11]]
    assert found.times == pytest.approx(np.array([(0.0, 0.8), (0.8, 2.8)]), abs=0.002)


@pytest.mark.parametrize("turned", [90, 270])
def test_turned(turned, video, ffmpeg, rgb_frames, tmp_path):
    """The clips of a phone's film stand upright: they are what ffmpeg shows."""
    path = tmp_path / "phone.mp4"
    ffmpeg("-i", video("grey.mp4", options=("-bf", "0", "-vf", "hue=s=0")), "-c", "copy",
           "-metadata:s:v", f"rotate={turned}", path)  # fmt: skip
    found = outcome(path, ClipSpec(height=64, width=48))
    expected = rgb_frames(path, "scale=48:64:flags=bilinear", 64, 48)[:16]
    assert len(found.windows) == 1
    assert np.abs(found.windows[0].pixels.astype(int) - expected).mean() < 1.5
    assert np.abs(found.windows[0].pixels[:, ::-1, ::-1].astype(int) - expected).mean() > 20


def test_no_time_stamps(video, ffmpeg, tmp_path):
    """Raw H.264: the pictures follow one another at the rate that the stream states."""
    path = tmp_path / "raw.h264"
    ffmpeg("-i", video("plain.mp4"), "-c", "copy", path)
    found = outcome(path)
    assert found.times == pytest.approx(np.array([(0.4 * n, 0.4 * (n + 1)) for n in range(5)]))
    assert (found.ends, found.damage) == ([EndReason.STREAM_END], [])


def test_times_that_do_not_advance(tmp_path):
    """A recorder whose clock stood still: no clip can be placed, and that is said."""
    found = outcome(stamped(tmp_path / "still.nut", [0.0] * 12))
    assert (found.windows, found.frames) == ([], 12)
    assert "12 pictures decoded, 11 of them left out, as their times do not advance" in found.damage[0]


def test_a_clock_that_stumbles(tmp_path):
    """Half a second back: the pictures that repeat the times are left out, which is no new segment but is said."""
    found = outcome(two_takes(tmp_path / "takes.ts", 6))
    assert (len(found.windows), found.frames) == (1, 12)
    assert found.ends == [EndReason.STREAM_END]
    assert "12 pictures decoded, 6 of them left out" in found.damage[0]


def test_a_clock_that_was_set_back(tmp_path):
    found = outcome(two_takes(tmp_path / "takes.ts", 18))
    first = found.windows[0].start
    take = [(first + 0.4 * n, first + 0.4 * (n + 1)) for n in range(4)]
    assert found.times == pytest.approx(np.array(take + take))
    assert [window.index for window in found.windows] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert (found.ends, found.damage) == ([EndReason.CLOCK_JUMP, EndReason.STREAM_END], [])


@pytest.mark.parametrize("stray", [9800.0, 3.0])
def test_one_stray_stamp(stray, tmp_path):
    """Its picture is left out and counted; the clips on both sides belong to one stretch."""
    times = [n / 10 for n in range(40)]
    times[18] += stray
    found = outcome(stamped(tmp_path / "stray.mkv", times))
    # Resampling is native: the clip with the stray takes one picture more.
    starts = [0.0, 0.4, 0.8, 1.2, 1.6, 2.1, 2.5, 2.9, 3.3]
    assert found.times[:, 0] == pytest.approx(np.array(starts))
    assert (found.ends, found.frames) == ([EndReason.STREAM_END], 40)
    assert "40 pictures decoded, 1 of them left out, as their times stray from those around them" in found.damage[0]


def test_the_picture_after_a_pause_may_be_the_last_one(tmp_path):
    times = [0.0, 0.1, 0.2, 0.3, 8.0]
    found = outcome(stamped(tmp_path / "film.nut", times), replace(SPEC, frames=1, stride=1))
    assert found.times[:, 0] == pytest.approx(np.array(times))
    assert (found.ends, found.damage) == ([EndReason.CLOCK_JUMP, EndReason.STREAM_END], [])


def test_a_pause(tmp_path):
    """A recorder that writes when something moves: no clip spans the pause."""
    times = [n / 10 for n in range(6)] + [60 + n / 10 for n in range(6)]
    found = outcome(stamped(tmp_path / "film.nut", times))
    assert found.times == pytest.approx(np.array([(0.0, 0.4), (60.0, 60.4)]))
    assert found.ends == [EndReason.CLOCK_JUMP, EndReason.STREAM_END]


def test_sound_alone(ffmpeg, tmp_path):
    path = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(SourceError, match=r"camera gate: .*holds no video stream") as caught:
        outcome(path)
    assert caught.value.code == "no_video_stream"


def test_no_picture(tmp_path):
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        container.start_encoding()
    with pytest.raises(SourceError, match=r"camera gate: .*not one picture could be decoded") as caught:
        outcome(path)
    assert caught.value.code == "decode"


@pytest.mark.parametrize("pictures", [1, 3])
def test_too_short_for_a_clip(pictures, tmp_path):
    found = outcome(stamped(tmp_path / "short.nut", [n / 10 for n in range(pictures)]))
    assert (found.windows, found.frames) == ([], pictures)
    assert (found.ends, found.damage) == ([EndReason.STREAM_END], [])


def test_one_picture_is_a_clip_of_one(tmp_path):
    found = outcome(stamped(tmp_path / "one.nut", [0.5]), ClipSpec(frames=1, stride=1, height=32, width=48))
    assert len(found.windows) == 1
    assert found.windows[0].start == pytest.approx(0.5)
    assert found.windows[0].start < found.windows[0].end < 0.7


@pytest.mark.parametrize(("pixels", "size"), [("gray", (48, 32)), ("yuv444p10le", (50, 34)), ("rgba", (47, 31))])
def test_pictures_of_any_kind(pixels, size, tmp_path):
    """Grey, ten bits, transparent, odd sides: a clip is RGB of the size that was asked for."""
    path = tmp_path / "film.nut"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, pixels if pixels != "rgba" else "bgra"
        for _ in range(4):  # FFmpeg brings them to size: of odd rows it would read what lies behind them
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    (window,) = outcome(path).windows
    assert window.pixels.shape == (4, 32, 48, 3)
    assert np.abs(window.pixels.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "nut"])
def test_a_last_picture_that_is_held(suffix, tmp_path):
    """A recorder that writes when something moves: the last of 12 pictures is shown for 8 s, and nothing is missing."""
    path = tmp_path / f"held.{suffix}"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        packets = [one for _ in range(12) for one in stream.encode(av.VideoFrame(48, 32, "yuv420p"))]
        packets += stream.encode()
        packets[-1].duration = round(8 / packets[-1].time_base)
        film.mux(packets)
    found = outcome(path)
    assert (found.frames, found.ends, found.damage) == (12, [EndReason.STREAM_END], [])


def test_an_animation_whose_last_picture_is_held(ffmpeg, tmp_path):
    path = tmp_path / "held.gif"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=48x32:rate=10:duration=1", "-final_delay", "800", path)
    found = outcome(path)
    assert (found.frames, found.ends, found.damage) == (10, [EndReason.STREAM_END], [])
