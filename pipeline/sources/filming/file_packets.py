"""The packets of a recording from the last key frame before a time on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import av
import av.container

from pipeline.sources.filming.packet_stamps import PacketStamps, RawPacket, Stamped, rising

#: Pictures a second of a stream that does not state them.
USUAL_FPS = 25.0
#: Times are rounded on their way; a key frame so much later than was asked for is still the wanted one. Seconds.
TOLERANCE_SECONDS = 0.002
#: So far before the wanted time the key frame is sought, one after the other: not every container finds it exactly.
_EARLIER_SECONDS = (0.0, 10.0, 60.0)


class FilePackets:
    """Seeks in an open file.

    Args:
        stream: of the container, with times.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        assert stream.time_base is not None, "the stream of a demuxer has one"
        self._container = container
        self._stream = stream
        self._time_base = stream.time_base
        rate = float(stream.average_rate or USUAL_FPS)
        self._period = round(1 / (rate * float(self._time_base)))

    def seconds(self, units: int) -> float:
        """Return a time of a packet, seconds of the file's clock."""
        return float(units * self._time_base)

    def since(self, at: float) -> Iterator[Stamped]:
        """Return the packets from the last key frame at or before a time on; where there is none, from the first.

        Args:
            at: seconds of the file's clock.

        Returns:
            Empty: no key frame comes before the file's end.

        Raises:
            av.FFmpegError: it cannot be read.
        """
        for earlier in _EARLIER_SECONDS:
            group, rest = self._group(at, self._from(at - earlier))
            if group and self.seconds(group[0].pts) <= at + TOLERANCE_SECONDS:
                return chain(group, rest)
        group, rest = self._group(at, self._from(None))
        return chain(group, rest)

    def _group(self, at: float, packets: Iterator[Stamped]) -> tuple[list[Stamped], Iterator[Stamped]]:
        """Read until a time is passed; returns the packets from the key frame to begin with on, and the others."""
        group: list[Stamped] = []
        for packet in packets:
            if packet.is_key and (not group or self.seconds(packet.pts) <= at + TOLERANCE_SECONDS):
                group = [packet]
            elif group:
                group.append(packet)
            if group and self.seconds(packet.dts) > at:
                break
        return group, packets

    def _from(self, seconds: float | None) -> Iterator[Stamped]:
        first = self._stream.start_time or 0
        units = first if seconds is None else max(first, round(seconds / self._time_base))
        self._container.seek(units, stream=self._stream, backward=True)
        return self._stamped()

    def _stamped(self) -> Iterator[Stamped]:
        stamps, last = PacketStamps(self._period), None
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue
            raw = RawPacket(bytes(packet), packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, 0.0)
            for stamped in stamps.take(raw):
                risen = stamped if last is None else rising(stamped, last)
                last = risen.dts
                yield risen
