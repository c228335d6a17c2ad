"""Packets of which nothing is shown: pictures that only others are predicted from, and pictures that were left out."""

from __future__ import annotations

import av

#: Start codes of MPEG-4 part 2: a picture, and the last byte of those that begin the layer's header (0x20 to 0x2F).
_PICTURE = b"\x00\x00\x01\xb6"
_PREFIX = b"\x00\x00\x01"
_LAYERS = range(0x20, 0x30)


class ShownPackets:
    """Says of each packet of a recording, in their order, whether a picture is shown for it.

    * VP8 and VP9 send references that are never shown (alt-ref), as packets of their own or within another one's.
    * MPEG-4 leaves out a picture by one that is "not coded". Behind a packet that holds two pictures (the packed
      bitstream of XviD and DivX) such a one only keeps the place of the second.

    Any other codec shows a picture for each packet.

    Args:
        header: the codec's own header, where the container keeps it apart.
    """

    def __init__(self, codec: str, header: bytes | None = None) -> None:
        self._codec = codec
        self._packed = 0  # pictures that came in a packet with another one and have not had a place yet
        self._clock_bits = _clock_bits(header or b"")

    def shows(self, packet: av.Packet[av.VideoStream]) -> bool:
        """Return whether a picture is shown for the next packet."""
        if self._codec == "vp9":
            return vp9_shows(memoryview(packet))
        if self._codec == "vp8":
            return bool(memoryview(packet)[0] & 0x10)  # show_frame, RFC 6386 section 9.1
        if self._codec == "mpeg4":
            return self._mpeg4_shows(bytes(packet))
        return True

    def _mpeg4_shows(self, content: bytes) -> bool:
        self._clock_bits = _clock_bits(content) or self._clock_bits
        coded, at = 0, content.find(_PICTURE)
        while at >= 0:
            coded += self._is_coded(content[at + len(_PICTURE) :][:8])
            at = content.find(_PICTURE, at + len(_PICTURE))
        if coded == 0 and _PICTURE in content:
            has_place, self._packed = self._packed > 0, max(0, self._packed - 1)
            return has_place
        self._packed += max(0, coded - 1)
        return True

    def _is_coded(self, head: bytes) -> bool:
        """Read vop_coded, ISO/IEC 14496-2 section 6.2.5: type (2), seconds (1…10), marker, clock, marker, vop_coded."""
        if self._clock_bits is None:
            return True
        bits = _bits(head)
        at = bits.find("0", 2) + 1 + 1 + self._clock_bits + 1
        return bits[at] != "0"


def vp9_shows(content: memoryview) -> bool:
    """Return whether a VP9 packet shows a picture; of several in one (a "superframe") one is shown."""
    if content[-1] & 0xE0 == 0xC0:  # the marker of a superframe's index
        return True
    header = content[0]  # frame_marker (2 bits), profile (2), reserved (1, in profile 3 alone), then the flags
    flags = header << 1 if header & 0x30 == 0x30 else header
    show_existing_frame, show_frame = flags & 0x08, flags & 0x02
    return bool(show_existing_frame or show_frame)


def _clock_bits(content: bytes) -> int | None:
    """Return the length of a picture's time by the layer's header, ISO/IEC 14496-2 section 6.2.3; None without one."""
    at = content.find(_PREFIX)
    while 0 <= at < len(content) - 4 and content[at + 3] not in _LAYERS:
        at = content.find(_PREFIX, at + 3)
    if not 0 <= at < len(content) - 4:
        return None
    bits = _bits(content[at + 4 :][:40])
    place, version, binary_only = 1 + 8, 1, 2
    if bits[place] == "1":  # is_object_layer_identifier
        version = int(bits[place + 1 : place + 5], 2)
        place += 7
    place += 1
    place += 4 + (16 if bits[place : place + 4] == "1111" else 0)  # aspect_ratio_info
    has_control = bits[place] == "1"
    place += 1
    if has_control:
        place += 3
        place += 1 + (79 if bits[place] == "1" else 0)  # vbv_parameters
    shape = int(bits[place : place + 2], 2)
    place += 2 + (4 if shape > binary_only and version != 1 else 0) + 1
    return max(1, (int(bits[place : place + 16], 2) - 1).bit_length())


def _bits(content: bytes) -> str:
    """Return the content as binary digits, and ones for what a cut-off content lacks."""
    return "".join(f"{byte:08b}" for byte in content).ljust(400, "1")
