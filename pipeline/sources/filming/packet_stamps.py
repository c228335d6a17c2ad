"""Times of packets as a container wants them: every packet has both, and each is decoded after the one before.

FFmpeg gives the first packets of an RTSP connection no times, or no decoding times while it does not know how far the
camera reorders its pictures. A film may begin with the very first key frame, so the times are filled in backwards from
the first packet that has both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: So many packets may wait for the first one with both times.
_MOST_HELD = 64


@dataclass(frozen=True, slots=True)
class Stamped:
    """A packet with its times, in the units of its stream.

    Attributes:
        pts: when its picture is shown.
        dts: when it is decoded; rises from packet to packet.
        duration: 0 where it is not known.
        picture_pts: the PTS by which the decoder names its picture; None for one without.
    """

    data: bytes
    pts: int
    dts: int
    duration: int
    is_key: bool
    picture_pts: int | None
    arrived_at: float


@dataclass(frozen=True, slots=True)
class RawPacket:
    """A packet as it came; see :class:`Stamped`.

    Attributes:
        arrived_at: seconds of a clock that does not jump.
    """

    data: bytes
    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    arrived_at: float


class PacketStamps:
    """Gives the packets of one connection their times.

    Args:
        period: units of the stream from picture to picture, for packets that do not state their duration.
    """

    def __init__(self, period: int) -> None:
        self._period = max(1, period)
        self._held: list[RawPacket] = []
        self._last: int | None = None  # DTS of the newest packet

    def take(self, packet: RawPacket) -> list[Stamped]:
        """Take the next packet; returns those whose times are known by now, in order."""
        if packet.dts is None:
            if self._last is not None:  # in the middle of a stream: one after the one before
                return [self._stamp(packet, self._last + 1)]
            self._held = [*self._held, packet][-_MOST_HELD:]
            return []
        held, self._held = self._held, []
        stamped = []
        dts = packet.dts - sum(one.duration or self._period for one in held)
        first = min((one.pts for one in [*held, packet] if one.pts is not None), default=packet.dts)
        for ordinal, one in enumerate(held):
            before = first - (one.duration or self._period) if ordinal == 0 else None
            stamped.append(self._stamp(one, dts, before))
            dts += one.duration or self._period
        return [*stamped, self._stamp(packet, packet.dts)]

    def _stamp(self, packet: RawPacket, dts: int, otherwise: int | None = None) -> Stamped:
        """Return a packet with times.

        Args:
            otherwise: its PTS where it has none; None: its DTS.
        """
        pts = packet.pts
        if pts is None:
            pts = dts if otherwise is None else otherwise
        stamped = Stamped(
            packet.data, max(pts, dts), dts, packet.duration, packet.is_key, packet.pts, packet.arrived_at
        )
        self._last = dts
        return stamped


def rising(stamped: Stamped, last_dts: int) -> Stamped:
    """Return a packet that is decoded after ``last_dts``: slices of one picture may come with its time again."""
    if stamped.dts > last_dts:
        return stamped
    dts = last_dts + 1
    return replace(stamped, dts=dts, pts=max(stamped.pts, dts))
