"""An MP4 of packets as they came from a camera: neither decoded nor encoded, and playable from its first byte.

It is a fragmented MP4: the description of the stream (``moov``) comes first, and then a fragment for each second, or
for each group of pictures that is shorter. So it is written in one pass, in bounded memory and without seeking, while
the alert goes on, and a browser plays what there is of it. (The alternative, ``faststart``, writes every film twice.)
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import av
import av.container

from pipeline.sources.filming.packet_stamps import Stamped
from pipeline.sources.filming.stream_shape import StreamShape

#: The description is written with the first fragment: only then are the pictures' order and so the edit list known,
#: which puts the first picture at 0. Fragments do not refer to places in the file.
_OPTIONS = {"movflags": "delay_moov+frag_keyframe+default_base_moof", "frag_duration": "1000000"}


#: Apple's players want HEVC under this name, which says that the parameter sets are in the description alone: FFmpeg
#: then leaves repeated ones out of the packets. Nothing else of a packet changes.
_TAGS = {"hevc": "hvc1"}


class Target(Protocol):
    """A file that takes bytes, one after the other."""

    def write(self, data: bytes, /) -> int:
        """Write all of it. Raises OSError."""
        ...


class FilmWriter:
    """Writes one film; use it as a context, which ends the film.

    Args:
        shape: of the packets.

    Raises:
        av.FFmpegError: MP4 cannot hold the stream.
    """

    def __init__(self, target: Target, shape: StreamShape) -> None:
        self._counted = _Counted(target)
        self._shape = shape
        self._origin: int | None = None  # PTS of the first picture
        self._ends_at = 0  # in the units of the stream, from the first picture
        with shape.open() as template:
            self._container = av.open(self._counted, "w", format="mp4", options=_OPTIONS)
            self._stream = self._container.add_stream_from_template(template.streams.video[0])
        self._stream.time_base = shape.time_base
        if (tag := _TAGS.get(shape.codec)) is not None:
            self._stream.codec_context.codec_tag = tag

    @property
    def bytes(self) -> int:
        """Bytes written so far; those of the present fragment are not."""
        return self._counted.bytes

    @property
    def seconds(self) -> float:
        """Length so far."""
        return float(self._ends_at * self._shape.time_base)

    def add(self, packet: Stamped) -> bool:
        """Add the next packet; the first is a key frame, and is shown at 0. Return whether it is in the film.

        Pictures that are shown before the first one but decoded after it need pictures that the film lacks: they are
        left out.

        Raises:
            OSError: it cannot be written.
            av.FFmpegError: MP4 cannot hold it.
        """
        if self._origin is None:
            self._origin = packet.pts
        if packet.pts < self._origin:
            return False
        own = av.Packet(packet.data)
        own.stream = self._stream
        own.time_base = self._shape.time_base
        own.pts, own.dts = packet.pts - self._origin, packet.dts - self._origin
        own.duration = packet.duration
        own.is_keyframe = packet.is_key
        self._container.mux_one(own)
        self._ends_at = max(self._ends_at, packet.pts - self._origin + packet.duration)
        return True

    def close(self) -> None:
        """Write the end of the film. Raises OSError, av.FFmpegError."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Counted:
    """A target that counts its bytes, for FFmpeg, which is to write in one direction."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.bytes = 0

    def write(self, data: bytes) -> int:
        written = self._target.write(data)
        self.bytes += written
        return written
