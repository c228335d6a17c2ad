"""The smallest recordings there are: grey, 32 × 32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image


def _grey(number: int) -> np.ndarray:
    return np.full((32, 32, 3), number * 5 % 256, np.uint8)


def film(path: Path, frames: int, fps: int = 10) -> Path:
    """A film of so many frames, each a little lighter; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_grey(number), format="rgb24")))
        container.mux(stream.encode())
    return path


def frame_folder(path: Path, frames: int, suffix: str = "jpg", first: int = 0) -> Path:
    """A folder of so many pictures, 000.jpg and so on."""
    path.mkdir(parents=True, exist_ok=True)
    for number in range(frames):
        Image.fromarray(_grey(number)).save(path / f"{number + first:03d}.{suffix}")
    return path


def two_takes(path: Path, frames: int, fps: int = 10) -> Path:
    """A recording whose clock was set back: a take of so many frames, and behind it the same one at the same times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=fps, options={"bf": "0", "crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_grey(number), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(2 * path.read_bytes())
    return path


def damage(film: Path, path: Path, packets: Iterable[int], *, keep: int = 0) -> Path:
    """A copy of a film in which these packets, by their order in the file, are nothing but ones; all else is as it was.

    Args:
        keep: so many bytes at the beginning of each are left as they are.
    """
    with av.open(str(film)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(film.read_bytes())
    for packet in packets:
        at, size = places[packet]
        assert at is not None
        content[at + keep : at + size] = b"\xff" * (size - keep)
    path.write_bytes(content)
    return path


def stamped(path: Path, times: Sequence[float], *, height: int = 32, width: int = 48) -> Path:
    """A lossless film whose pictures are shown at these times, seconds; picture n is grey n all over."""
    with av.open(str(path), "w", format="matroska" if path.suffix == ".mkv" else "nut") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), number, np.uint8), format="rgb24")
            picture.pts = number
            for packet in stream.encode(picture):
                packet.pts = round(time * 1000)
                packet.dts = round(min(times[number:]) * 1000)  # muxers want these to rise
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    return path
