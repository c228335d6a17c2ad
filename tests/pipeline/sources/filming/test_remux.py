"""Films from packets: the same packets, the right times, and playable from the first byte."""

from __future__ import annotations

import io
import os
import time
from contextlib import suppress
from pathlib import Path

import av
import chromium
import pytest
from coded_films import FPS, SIZE, payloads, shown, top_boxes, write_coded

from pipeline.sources.filming.packet_stamps import Stamped
from pipeline.sources.filming.remux import FilmWriter, Target
from pipeline.sources.filming.stream_shape import StreamShape, parameter_sets, shape_of, shape_of_byte_stream


def stream_of(film: Path, form: str | None = None) -> tuple[StreamShape, list[Stamped]]:
    with av.open(str(film), format=form) as container:
        stream = container.streams.video[0]
        shape = shape_of(stream)
        packets = [
            Stamped(bytes(one), one.pts or 0, one.dts or 0, one.duration or 0, one.is_keyframe, one.pts, 0.0)
            for one in container.demux(stream)
            if one.size
        ]
    return shape, packets


def remuxed(shape: StreamShape, packets: list[Stamped]) -> bytes:
    written = io.BytesIO()
    write(written, shape, packets)
    return written.getvalue()


def write(target: Target, shape: StreamShape, packets: list[Stamped]) -> None:
    with FilmWriter(target, shape) as writer:
        for packet in packets:
            writer.add(packet)


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 0), ("libx264", 3), ("libx265", 3)])
@pytest.mark.parametrize("suffix", ["ts", "mp4"])
def test_the_packets_are_those_that_came_and_the_first_picture_is_shown_at_zero(
    tmp_path: Path, codec: str, b_frames: int, suffix: str
) -> None:
    """From a byte stream with start codes, as RTSP has it, and from one with lengths, as a film on a web server."""
    source = write_coded(tmp_path / f"source.{suffix}", 60, codec=codec, b_frames=b_frames)
    shape, packets = stream_of(source)
    film = remuxed(shape, packets)
    assert payloads(film) == payloads(source)
    pictures = shown(film)
    assert [picture.number for picture in pictures] == list(range(60))
    assert [round(picture.seconds * FPS, 2) for picture in pictures] == list(range(60))


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_film_that_begins_at_a_later_key_frame_has_its_picture_first(tmp_path: Path, b_frames: int) -> None:
    shape, packets = stream_of(write_coded(tmp_path / "source.ts", 75, b_frames=b_frames))
    key = [number for number, packet in enumerate(packets) if packet.is_key][1]
    pictures = shown(remuxed(shape, packets[key:]))
    assert [picture.number for picture in pictures] == list(range(FPS, 75))
    assert pictures[0].seconds == 0


def test_an_open_group_of_pictures_is_decoded_without_damage(tmp_path: Path) -> None:
    """HEVC's usual key frame is followed by pictures that are shown before it."""
    shape, packets = stream_of(write_coded(tmp_path / "source.ts", 75, codec="libx265", b_frames=3, gop=27))
    key = [number for number, packet in enumerate(packets) if packet.is_key][1]
    assert any(packet.pts < packets[key].pts for packet in packets[key:]), "the encoder closes its groups"
    pictures = shown(remuxed(shape, packets[key:]))
    first = pictures[0].number
    assert [picture.number for picture in pictures] == list(range(first, 75))
    assert [round(picture.seconds * FPS, 2) for picture in pictures] == list(range(75 - first))


def test_it_plays_from_its_first_byte(tmp_path: Path) -> None:
    """A player that reads a pipe, which cannot seek, shows what has come of a film that is not complete yet."""
    shape, packets = stream_of(write_coded(tmp_path / "source.ts", 100))
    film = remuxed(shape, packets)
    assert list(top_boxes(film)[:3]) == ["ftyp", "moov", "moof"]
    reading, writing = os.pipe()
    os.write(writing, film[: len(film) // 2])
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, av.open(Unseekable(pipe)) as container:
        numbers: list[int] = []
        with suppress(av.FFmpegError):  # the film is cut off
            numbers.extend(round(frame.time * FPS) for frame in container.decode(video=0))
    assert numbers[:25] == list(range(25))


class Unseekable:
    """A file that can only be read on."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.read = file.read


def test_a_disk_that_is_full_is_an_error_of_the_system(tmp_path: Path) -> None:
    shape, packets = stream_of(write_coded(tmp_path / "source.ts", 100))
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        write(full, shape, packets)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_parameter_sets_at_the_front_of_a_key_frame_state_the_stream(tmp_path: Path, codec: str) -> None:
    name = {"libx264": "h264", "libx265": "hevc"}[codec]
    shape, packets = stream_of(write_coded(tmp_path / "source.ts", 50, codec=codec))
    assert len(parameter_sets(name, packets[0].data)) == {"h264": 2, "hevc": 3}[name]
    stated = shape_of_byte_stream(name, packets[0].data, shape.time_base)
    assert stated.sets == parameter_sets(name, packets[0].data)
    assert [picture.number for picture in shown(remuxed(stated, packets))] == list(range(50))


def test_packets_with_lengths_have_no_parameter_sets_of_a_byte_stream(tmp_path: Path) -> None:
    shape, packets = stream_of(write_coded(tmp_path / "source.mp4", 30))
    assert shape.sets == frozenset()
    assert parameter_sets("h264", packets[0].data) == frozenset()


@pytest.mark.waits
@pytest.mark.skipif(chromium.program() is None, reason="Chromium is not installed")
def test_a_browser_plays_it_to_its_end_and_knows_its_length(tmp_path: Path) -> None:
    shape, packets = stream_of(write_coded(tmp_path / "source.ts", 50, b_frames=2))
    (tmp_path / "film.mp4").write_bytes(remuxed(shape, packets))
    page = tmp_path / "page.html"
    page.write_text("<video id=film muted autoplay src=film.mp4></video>")
    state = "[film.currentTime, film.duration, film.videoWidth, film.ended, film.error && film.error.message]"
    with chromium.Chromium() as browser:
        shown_page = browser.open(page)
        times = []
        until = time.monotonic() + chromium.PATIENCE
        while True:
            at, duration, width, ended, error = shown_page.evaluate(state)
            assert error is None
            times.append(at)
            if ended:
                break
            assert time.monotonic() < until, times
            time.sleep(0.1)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2.0, abs=0.05)
    assert duration == pytest.approx(2.0, abs=0.05)
    assert width == SIZE[0]
