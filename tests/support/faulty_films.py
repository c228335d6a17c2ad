"""Films that the faulty cameras play: H.264 and H.265 in loops, as the payloads of RTP packets."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import numpy as np

TICKS = 90_000  # of RTP's clock for video, a second
_PAYLOAD = 1200  # bytes


@dataclass(frozen=True)
class Packet:
    """One encoded picture: its NAL units, its place in the order of showing, and whether a decoder can begin here."""

    units: tuple[bytes, ...]
    shown: int
    key: bool


@dataclass(frozen=True)
class Film:
    """A loop of pictures, in the order of decoding."""

    hevc: bool
    fps: float
    packets: tuple[Packet, ...]
    sets: tuple[bytes, ...]

    @property
    def payload_type(self) -> int:
        """Cameras number their codecs."""
        return 97 if self.hevc else 96

    def description(self) -> str:
        """The lines of the SDP that describe it."""
        texts = [base64.b64encode(each).decode() for each in self.sets]
        if self.hevc:
            said = ";".join(f"sprop-{kind}={text}" for kind, text in zip(("vps", "sps", "pps"), texts, strict=True))
        else:
            said = f"packetization-mode=1;sprop-parameter-sets={','.join(texts)}"
        number, codec = self.payload_type, "H265" if self.hevc else "H264"
        return f"m=video 0 RTP/AVP {number}\r\na=rtpmap:{number} {codec}/90000\r\na=fmtp:{number} {said}\r\n"


@cache
def film(name: str) -> Film:
    """``h264``, ``large`` (another size), ``hevc``, ``bframes``, ``slow`` (1 fps), ``fast`` (20 fps) or ``vga``.

    Bright and dark in turns of 1.2 s (of 12 s at 1 fps, of 20 s in ``vga``, which has 640 × 480), 10 fps, with a grain
    that makes the pictures some kB large.
    """
    fps = {"slow": 1.0, "fast": 20.0}.get(name, 10.0)
    turn = {"slow": 12, "vga": 200}.get(name, round(1.2 * fps))
    keys = {"slow": 4, "vga": 20}.get(name, turn)
    width, height = {"large": (224, 168), "vga": (640, 480)}.get(name, (160, 120))
    codec = av.CodecContext.create("libx265" if name == "hevc" else "libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate, codec.time_base = round(fps), Fraction(1, round(fps))
    bframes = 2 if name == "bframes" else 0
    if name == "hevc":
        codec.options = {
            "preset": "ultrafast",
            "x265-params": f"log-level=none:repeat-headers=1:bframes=0:keyint={keys}:min-keyint={keys}:scenecut=0",
        }
    else:
        params = f"keyint={keys}:min-keyint={keys}:scenecut=0:bframes={bframes}:b-adapt=0:open-gop=0:repeat-headers=1"
        codec.options = {"preset": "veryfast", "crf": "30", "x264-params": params}
    grain = np.random.default_rng(3).integers(-20, 20, (height, width, 1))
    packets: list[Packet] = []
    sets: dict[int, bytes] = {}
    for number in [*range(2 * turn), None]:
        frame = None
        if number is not None:
            level = 225 if number < turn else 45
            shown = np.clip(level + np.roll(grain, number, 0), 0, 255).astype(np.uint8).repeat(3, 2)
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            frame.pts = number
        for packet in codec.encode(frame):
            units = tuple(unit.rstrip(b"\0") for unit in re.split(rb"\x00\x00\x01", bytes(packet))[1:])
            for unit in units:
                kind = unit[0] >> 1 & 63 if name == "hevc" else unit[0] & 31
                if kind in ((32, 33, 34) if name == "hevc" else (7, 8)):
                    sets.setdefault(kind, unit)
            assert packet.pts is not None
            packets.append(Packet(units, int(packet.pts), packet.is_keyframe))
    return Film(name == "hevc", fps, tuple(packets), tuple(sets[kind] for kind in sorted(sets)))


def payloads(unit: bytes, *, hevc: bool) -> list[bytes]:
    """A NAL unit as RTP payloads: RFC 6184 (FU-A), RFC 7798 (FU)."""
    if len(unit) <= _PAYLOAD:
        return [unit]
    body = unit[2:] if hevc else unit[1:]
    parts = []
    for at in range(0, len(body), _PAYLOAD):
        flags = (0x80 if at == 0 else 0) | (0x40 if at + _PAYLOAD >= len(body) else 0)
        if hevc:
            front = bytes([unit[0] & 0x81 | 49 << 1, unit[1], flags | unit[0] >> 1 & 63])
        else:
            front = bytes([unit[0] & 0xE0 | 28, flags | unit[0] & 31])
        parts.append(front + body[at : at + _PAYLOAD])
    return parts
