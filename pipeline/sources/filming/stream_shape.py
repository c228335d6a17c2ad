"""A stream's codec parameters, kept apart from the connection that they came with."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container

#: Codecs that an MP4 of a browser may hold; the others are not filmed.
FILMED_CODECS = frozenset({"h264", "hevc"})

#: A container that keeps codec parameters as they are: an MP4 or Matroska would convert them, and then the packets of a
#: byte stream (Annex B) would not fit them.
_KEEPS_PARAMETERS = "nut"

#: Types of the units that hold parameter sets: SPS and PPS of H.264; VPS, SPS and PPS of HEVC.
_PARAMETER_TYPES = {"h264": frozenset({7, 8}), "hevc": frozenset({32, 33, 34})}
_START_CODE = b"\0\0\1"
#: Parameter sets lie before the pictures: units are looked for in so many bytes at the front of a key frame.
_FRONT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StreamShape:
    """Codec parameters of a stream.

    Attributes:
        codec: FFmpeg's name of it.
        header: a container of FFmpeg's with a stream of these parameters.
        time_base: of the packets' times, seconds.
        sets: the parameter sets as units of a byte stream; empty where the packets do not form a byte stream.
    """

    codec: str
    header: bytes
    time_base: Fraction
    sets: frozenset[bytes] = frozenset()

    def open(self) -> av.container.InputContainer:
        """Return a container whose only stream has these parameters; the caller closes it. Raises av.FFmpegError."""
        return av.open(io.BytesIO(self.header), "r", format=_KEEPS_PARAMETERS)


def shape_of(stream: av.VideoStream) -> StreamShape:
    """Return the shape of a stream. Raises av.FFmpegError: its parameters cannot be written."""
    assert stream.time_base is not None, "the stream of a demuxer has one"
    extradata = stream.codec_context.extradata or b""
    codec = stream.codec_context.name
    return StreamShape(codec, _header(stream), stream.time_base, parameter_sets(codec, extradata))


def shape_of_byte_stream(codec: str, key_frame: bytes, time_base: Fraction) -> StreamShape:
    """Return the shape that the parameter sets at the front of a key frame state.

    Raises:
        av.FFmpegError: they are not understood.
    """
    with av.open(io.BytesIO(key_frame), format=codec) as container:
        return StreamShape(codec, _header(container.streams.video[0]), time_base, parameter_sets(codec, key_frame))


def parameter_sets(codec: str, data: bytes) -> frozenset[bytes]:
    """Return the parameter sets at the front of a packet, or of extradata, that is a byte stream (Annex B)."""
    wanted = _PARAMETER_TYPES.get(codec, frozenset())
    return frozenset(unit for unit in _units(data[:_FRONT_BYTES]) if _unit_type(codec, unit) in wanted)


def _unit_type(codec: str, unit: bytes) -> int:
    return unit[0] >> 1 & 0x3F if codec == "hevc" else unit[0] & 0x1F


def _units(data: bytes) -> Iterator[bytes]:
    """Yield the complete units of a byte stream, without start codes."""
    if not data.startswith((_START_CODE, b"\0" + _START_CODE)):
        return  # of units with their lengths
    for unit in data.split(_START_CODE)[1:]:
        if stripped := unit.rstrip(b"\0"):  # zeros belong to the next start code
            yield stripped


def _header(stream: av.VideoStream) -> bytes:
    written = io.BytesIO()
    with av.open(written, "w", format=_KEEPS_PARAMETERS) as container:
        copy = container.add_stream_from_template(stream)
        packet = av.Packet(b"\0")  # the container is not recognised without a packet
        packet.stream = copy
        packet.pts = packet.dts = 0
        packet.is_keyframe = True
        container.mux(packet)
    return written.getvalue()
