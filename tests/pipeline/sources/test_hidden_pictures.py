"""Packets of which no picture is shown do not count: annotations count what is shown."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest

from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.files import FileSource
from pipeline.sources.hidden_pictures import vp9_shows


def _shown(source: FileSource) -> list[float]:
    items = source.frames([FrameSpec(16, 16)], threading.Event())
    return [item.pts_seconds for item in items if isinstance(item, Frame)]


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_references_that_are_not_shown(codec, ffmpeg, tmp_path):
    """30 pictures, and more packets than that: the encoder adds alt-ref pictures."""
    film, apart = tmp_path / "film.webm", tmp_path / "apart.webm"
    source = ("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=3")
    coding = (
        "-c:v",
        codec,
        "-auto-alt-ref",
        "1",
        "-lag-in-frames",
        "25",
        "-b:v",
        "50k",
        "-passlogfile",
        tmp_path / "log",
    )
    ffmpeg(*source, *coding, "-pass", "1", "-f", "null", "-")
    ffmpeg(*source, *coding, "-pass", "2", film)
    if codec == "libvpx-vp9":  # the encoder sends them within others' packets; some muxers do not
        _split_superframes(film, apart)
    else:
        apart.write_bytes(film.read_bytes())
    with av.open(str(apart)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) > 30
    recording = FileSource("cam", apart)
    assert _shown(recording) == pytest.approx([n / 10 for n in range(30)], abs=0.001)
    assert len(recording.seen) == 30
    assert recording.frame_times() == pytest.approx(recording.seen.times)


def _split_superframes(film: Path, path: Path) -> None:
    """Each picture in a packet of its own, VP9 bitstream specification, annex B."""
    with av.open(str(film)) as source, av.open(str(path), "w", options={"fflags": "-autobsf"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if not packet.size:
                continue
            content = bytes(packet)
            parts = [content]
            if content[-1] & 0xE0 == 0xC0:
                count, width = (content[-1] & 7) + 1, (content[-1] >> 3 & 3) + 1
                index = content[-1 - count * width : -1]
                sizes = [int.from_bytes(index[at : at + width], "little") for at in range(0, len(index), width)]
                begins = [sum(sizes[:number]) for number in range(count)]
                parts = [content[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]
            for part in parts:
                one = av.Packet(part)
                one.stream, one.time_base = stream, packet.time_base
                one.pts = one.dts = packet.pts
                one.is_keyframe = packet.is_keyframe and part is parts[0]
                target.mux(one)


@pytest.mark.parametrize(
    ("first_byte", "shows"),
    [(0b10000010, True), (0b10000000, False), (0b10001000, True), (0b10110001, True), (0b10110000, False)],
)
def test_the_header_of_vp9(first_byte, shows):
    """Profile 0 with show_frame, without, with show_existing_frame; profile 3 with show_frame, without."""
    assert vp9_shows(memoryview(bytes([first_byte, 0]))) is shows


#: A P picture of MPEG-4 at clock 0 of 10 a second (4 bits) that is "not coded", filled up to a whole byte.
_NOT_CODED = b"\x00\x00\x01\xb6" + bytes([0b01_0_1_0000, 0b1_0_011111])

#: User data by which an encoder says that it packs, as XviD does.
_PACKED = b"\x00\x00\x01\xb2DivX503b1393p"


def _mpeg4(path: Path, contents: list[bytes], header: bytes) -> Path:
    """An AVI of these packets, 10 a second."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.extradata = header
        for number, content in enumerate(contents):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0
            film.mux(packet)
    return path


@pytest.fixture(scope="module")
def mpeg4(ffmpeg, tmp_path_factory) -> tuple[list[bytes], bytes]:
    """The packets of 20 pictures with a B frame after each P, and their header."""
    film = tmp_path_factory.mktemp("mpeg4") / "film.avi"
    options = ("-bf", "1", "-b_strategy", "0", "-g", "100", "-sc_threshold", "1000000000")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=2", "-c:v", "mpeg4", *options, film)
    with av.open(str(film)) as container:
        header = container.streams.video[0].codec_context.extradata
        return [bytes(packet) for packet in container.demux(video=0) if packet.size], header


def test_pictures_that_are_not_coded(mpeg4, tmp_path):
    """An encoder that leaves out a picture says "not coded", and no picture is shown for it."""
    contents, header = mpeg4
    recording = FileSource("cam", _mpeg4(tmp_path / "film.avi", [*contents[:9], _NOT_CODED, *contents[9:]], header))
    assert len(_shown(recording)) == len(recording.seen) == len(recording.frame_index()) == 20
    assert recording.frame_times() == pytest.approx(recording.seen.times)


def test_a_packed_bitstream(mpeg4, tmp_path):
    """XviD's: P and B in one packet, then one that is not coded in the place of the second. None is left out."""
    contents, header = mpeg4
    picture = contents[0].index(b"\x00\x00\x01\xb6")
    packed = [contents[0][:picture] + _PACKED + contents[0][picture:]]
    for number in range(1, 19, 2):
        packed += [contents[number] + contents[number + 1], _NOT_CODED]
    recording = FileSource("cam", _mpeg4(tmp_path / "film.avi", packed, header))
    assert _shown(recording) == pytest.approx([n / 10 for n in range(19)])
    assert recording.frame_times() == pytest.approx(recording.seen.times)
