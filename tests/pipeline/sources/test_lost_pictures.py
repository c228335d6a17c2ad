"""Pictures that cannot be decoded keep their place in the count of frames, which is what annotations go by."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from gray_films import write_film
from tiny_films import damage

from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.files import FileSource
from pipeline.sources.lost_pictures import LostPictures

SMALL = FrameSpec(16, 16)
FPS = 10


def numbers_of(source: FileSource) -> dict[int, int]:
    """By its number in the whole film, which its time tells, the number that each shown picture has been given."""
    frames = [item for item in source.frames([SMALL], threading.Event()) if isinstance(item, Frame)]
    given = {}
    for frame in frames:
        ordinal = int(frame.segment.id.rpartition("/")[2])
        first, end = source.seen.span(ordinal, frame.pts_seconds, frame.pts_seconds + 1 / FPS)
        assert end - first >= 1
        given[round(frame.pts_seconds * FPS)] = first
    return given


#: Films of 20 pictures, by name: their codec and its options. H.265's decoder passes over a damaged picture, and over
#: those that need it, without a word.
FILMS = {
    "mjpeg.mp4": ("mjpeg", ()),
    "b-frames.mp4": ("libx264", ("-bf", "3", "-g", "8")),
    "mpeg4.mp4": ("mpeg4", ("-bf", "2", "-g", "8")),
    "h265.mp4": ("libx265", ("-x265-params", "bframes=3:keyint=8:log-level=none")),
}


@pytest.mark.parametrize(
    ("name", "bad", "threads"),
    [
        ("mjpeg.mp4", (0, 4, 9, 10, 19), 1),
        ("b-frames.mp4", (4, 9, 10), 1),
        ("b-frames.mp4", (4, 9, 10), 3),
        ("b-frames.mp4", (0,), 1),
        ("b-frames.mp4", (18, 19), 3),
        ("mpeg4.mp4", (4, 9, 10), 1),
        ("mpeg4.mp4", (4, 9, 10), 3),
        ("h265.mp4", (4, 9, 10), 1),
        ("h265.mp4", (4, 9, 10), 3),
        ("h265.mp4", (18, 19), 1),
    ],
)
def test_the_pictures_behind_a_lost_one_keep_their_numbers(name, bad, threads, video, tmp_path):
    codec, options = FILMS[name]
    film = damage(video(f"small-{name}", codec=codec, options=options, size="96x64"), tmp_path / name, bad)
    told: list[str] = []
    source = FileSource("cam", film, threads=threads, on_damage=told.append)
    given = numbers_of(source)
    assert 0 < len(given) < 20
    assert given == {number: number for number in given}
    assert len(source.seen) == 20 == len(source.frame_index())
    assert "packets could not be" in told[0]


@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_without_times(threads, video, ffmpeg, tmp_path):
    """Raw H.264: each error stands for a picture. What is behind it is shown that much earlier, and counted right."""
    film = tmp_path / "raw.h264"
    ffmpeg("-i", video("groups.mp4", options=("-bf", "0", "-g", "8"), size="96x64"), "-c", "copy", film)
    source = FileSource("cam", damage(film, film, (4, 9, 10), keep=6), threads=threads)
    shown = sum(isinstance(item, Frame) for item in source.frames([SMALL], threading.Event()))
    assert (shown, len(source.seen)) == (17, 20)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "ts"), ("libx265", "ts"), ("libx265", "mkv")])
def test_what_nobody_was_to_see_is_no_loss(codec, suffix, video, ffmpeg, tmp_path):
    """Cut from within a group of pictures, as cameras' streams are: what comes before the first whole picture, or
    leads up to it from a group that is not there, no player shows."""
    options = {"libx264": ("-bf", "3", "-g", "8", "-x264-params", "open-gop=1"),
               "libx265": ("-x265-params", "bframes=3:keyint=8:open-gop=1:log-level=none")}[codec]  # fmt: skip
    whole = video(f"open-{codec}.ts", codec=codec, options=options, size="96x64")
    film = tmp_path / f"cut.{suffix}"
    if suffix == "ts":  # in packets of 188 bytes; the first ones are gone
        content = whole.read_bytes()
        film.write_bytes(content[len(content) // 188 // 3 * 188 :])
    else:
        ffmpeg("-ss", "0.65", "-i", whole, "-c", "copy", film)
    source = FileSource("cam", film, threads=1)
    shown = sum(isinstance(item, Frame) for item in source.frames([SMALL], threading.Event()))
    assert 0 < len(source.seen) == shown == len(source.frame_index()) < 20


def told(lost: LostPictures, *happened: object) -> list[list[float | None]]:
    """What is found to be lost at each picture. ``3.0`` is a packet sent, ``"3.0"`` a picture shown, ``!`` an error."""
    found = []
    for one in happened:
        if one == "!":
            lost.failed()
        elif isinstance(one, str):
            found.append(lost.shown(float(one)))
        else:
            lost.sent(one, key=False)
    return [*found, lost.rest()]


def test_an_error_is_told_when_later_packets_were_sent():
    """Of the packets that were out only the third came to nothing."""
    assert told(LostPictures("h264"), 0, 1, "0", 2, 3, "1", 4, "!", 5, "3", "4", "5") == [[], [], [2], [], [], []]


def test_a_packet_that_is_no_picture_of_its_own_is_none_that_was_lost():
    """A field of a picture, say."""
    assert told(LostPictures("h264"), 0, 0.5, "0", 1, 1.5, "1", 2) == [[], [], []]


def test_some_decoders_do_not_tell():
    assert told(LostPictures("hevc"), 0, "0", 1, 2, "2", 3) == [[], [1], [3]]


def test_of_the_take_before_the_clock_was_set_back():
    """The loss at 11 belongs to the first take, that at 1 to the second."""
    happened = (10, "10", 11, "!", 12, 0, "12", 1, 2, "0", "!", 3, "2", "3")
    assert told(LostPictures("h264"), *happened) == [[], [11], [], [1], [], []]
    assert told(LostPictures("h264"), 10, "10", 11, "!", 0, 1, "0", "1") == [[], [11], [], []]


def test_counted_from_the_first_key_picture_on_where_a_stream_may_begin_anywhere():
    lost = LostPictures("h264", begins_anywhere=True)
    lost.sent(0.0, key=False)
    lost.failed()
    lost.sent(1.0, key=True)
    lost.sent(0.5, key=False)  # leads up to it
    lost.failed()
    assert lost.shown(1.0) == []
    lost.sent(2.0, key=False)
    lost.failed()
    assert (lost.rest(), lost.count) == ([2.0], 1)


def test_a_film_without_a_flaw_loses_nothing(tmp_path):
    source = FileSource("cam", write_film(tmp_path / "film.mkv", [0] * 12, fps=10))
    assert numbers_of(source) == {number: number for number in range(12)}
    assert np.isfinite(source.seen.times).all()
