"""Packing of encoded pictures: RTP (RFC 3550) of H.264 (RFC 6184) inside an RTSP connection (RFC 2326)."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator

PAYLOAD_TYPE = 96  # the first dynamic type

#: Largest payload of a packet, bytes: fits an Ethernet frame, like a camera's packets.
_MAX_PAYLOAD = 1400
_FRAGMENT = 28  # the type of a FU-A
_NTP_EPOCH = 2_208_988_800  # 1970 on a clock that began in 1900, seconds


def payloads(units: Iterable[bytes]) -> Iterator[bytes]:
    """Yield NAL units as RTP payloads: complete if they fit, else in fragments (FU-A)."""
    for unit in units:
        if len(unit) <= _MAX_PAYLOAD:
            yield unit
            continue
        indicator = unit[0] & 0xE0 | _FRAGMENT
        step = _MAX_PAYLOAD - 2
        for at in range(1, len(unit), step):
            first, last = at == 1, at + step >= len(unit)
            yield bytes((indicator, first << 7 | last << 6 | unit[0] & 0x1F)) + unit[at : at + step]


class RtpStream:
    """The packets of one viewer, with their own sequence numbers and counts.

    Args:
        channel: of the RTP packets in the connection.
        report_channel: of the sender reports.
    """

    def __init__(self, channel: int, report_channel: int) -> None:
        self.channel, self.report_channel = channel, report_channel
        self.source = secrets.randbits(32)
        self.sequence = secrets.randbits(16)  # of the next packet
        self._packets = 0
        self._bytes = 0

    def frame(self, parts: Iterable[bytes], timestamp: int) -> bytes:
        """Return the packets of one picture, made from its :func:`payloads`, ready for the connection.

        Args:
            timestamp: of the picture, in ticks of the clock.
        """
        packets = list(parts)
        wire = bytearray()
        for number, payload in enumerate(packets, 1):
            marker = (number == len(packets)) << 7  # the picture is complete
            wire += struct.pack(
                ">cBHBBHII",
                b"$",
                self.channel,
                12 + len(payload),
                0x80,
                marker | PAYLOAD_TYPE,
                self.sequence,
                timestamp & 0xFFFF_FFFF,
                self.source,
            )
            wire += payload
            self.sequence = (self.sequence + 1) & 0xFFFF
            self._packets += 1
            self._bytes += len(payload)
        return bytes(wire)

    def report(self, unix_seconds: float, timestamp: int) -> bytes:
        """Return a sender report, which maps the stream's clock to the wall clock, ready for the connection."""
        seconds, fraction = divmod(unix_seconds, 1.0)
        report = struct.pack(
            ">BBHIIIIII",
            0x80,
            200,
            6,
            self.source,
            (int(seconds) + _NTP_EPOCH) & 0xFFFF_FFFF,
            int(fraction * 2**32),
            timestamp & 0xFFFF_FFFF,
            self._packets & 0xFFFF_FFFF,
            self._bytes & 0xFFFF_FFFF,
        )
        name = b"mistwatch"  # a report always comes with its sender's name (RFC 3550, 6.1)
        item = struct.pack(">IBB", self.source, 1, len(name)) + name + b"\0"
        item += b"\0" * (-len(item) % 4)
        description = struct.pack(">BBH", 0x81, 202, len(item) // 4) + item
        return struct.pack(">cBH", b"$", self.report_channel, len(report + description)) + report + description
