"""Films in which each picture says its number, and their packets: the truth for films that are cut from a stream."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 25
#: Squares of a picture that say its number in binary, the lowest bit first.
BITS, SIDE = 12, 16
SIZE = (BITS * SIDE, 2 * SIDE)


def number_picture(number: int) -> av.VideoFrame:
    """A picture of black and white squares."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 215 + 20, SIDE)
    pixels = np.broadcast_to(row[None, :, None], (SIZE[1], SIZE[0], 3))
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")


def number_of(picture: np.ndarray) -> int:
    """The number that an RGB picture of any size says."""
    row = picture[picture.shape[0] // 2, :, 1]
    centres = ((np.arange(BITS) + 0.5) * len(row) / BITS).astype(int)
    return int(sum(1 << bit for bit, value in enumerate(row[centres]) if value > 127))


def write_coded(
    path: Path,
    pictures: int,
    *,
    codec: str = "libx264",
    gop: int = FPS,
    b_frames: int = 0,
    first: int = 0,
    scale: int = 1,
) -> Path:
    """A film whose picture k, from 0, says ``first + k``; it is ``scale`` times as large as usual."""
    options = {
        "libx264": {"preset": "veryfast", "bf": str(b_frames), "sc_threshold": "0", "g": str(gop), "crf": "24"},
        "libx265": {
            "preset": "ultrafast",
            "x265-params": f"bframes={b_frames}:keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=1:pools=1:"
            "log-level=none",
        },
    }.get(codec, {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height = SIZE[0] * scale, SIZE[1] * scale
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(pictures):
            picture = number_picture(first + number)
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Shown:
    """One picture of a film: when it is shown, and the number that it says."""

    seconds: float
    number: int


def shown(film: bytes | Path) -> list[Shown]:
    """Every picture of a film, decoded."""
    with av.open(io.BytesIO(film) if isinstance(film, bytes) else str(film)) as container:
        return [Shown(frame.time, number_of(frame.to_ndarray(format="rgb24"))) for frame in container.decode(video=0)]


def payloads(film: bytes | Path) -> list[bytes]:
    """The packets of a film, each unit without its length or start code: an MP4 and a byte stream then agree.

    Parameter sets of HEVC are left out: an MP4 has them in its description.
    """
    with av.open(io.BytesIO(film) if isinstance(film, bytes) else str(film)) as container:
        is_hevc = container.streams.video[0].codec_context.name == "hevc"
        return [
            b"".join(unit for unit in units(bytes(packet)) if not (is_hevc and unit[0] >> 1 & 0x3F in (32, 33, 34)))
            for packet in container.demux(video=0)
            if packet.size
        ]


def units(packet: bytes) -> Iterator[bytes]:
    """The units of a packet of H.264 or HEVC, whether it has start codes or lengths of four bytes."""
    if packet.startswith((b"\0\0\1", b"\0\0\0\1")):
        for unit in packet.split(b"\0\0\1")[1:]:
            yield unit.rstrip(b"\0")
        return
    while packet:
        length = int.from_bytes(packet[:4], "big")
        yield packet[4 : 4 + length].rstrip(b"\0")
        packet = packet[4 + length :]


def top_boxes(film: bytes) -> Sequence[str]:
    """The names of an MP4's outermost boxes, in their order."""
    names, place = [], 0
    while place + 8 <= len(film):
        names.append(film[place + 4 : place + 8].decode("latin-1"))
        place += int.from_bytes(film[place : place + 4], "big")
    return names
