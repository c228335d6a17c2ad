"""Archives as recorders keep them: films cut by FFmpeg's segment muxer, streams copied, and named by their times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

#: Start of the archives in these tests.
START = datetime(2024, 5, 1, 13, 0, 0)


def grey_film(path: Path, greys: Sequence[int], *, fps: int = 10, key_every: int = 20, b_frames: int = 0) -> Path:
    """An H.264 film: frame k is all of ``greys[k]``, with a number of key frames that it can be cut at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crf": "10", "bf": str(b_frames), "g": str(key_every), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, grey in enumerate(greys):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def cut(film: Path, folder: Path, *, seconds: int, suffix: str = "mp4") -> list[Path]:
    """The film in files of so many seconds, each with a clock of its own that begins at 0."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {"segment_time": str(seconds), "reset_timestamps": "1"}
    with av.open(str(film)) as source, av.open(str(folder / f"cut%03d.{suffix}"), "w", "segment", options) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return sorted(folder.glob(f"cut*.{suffix}"))


def name_by_time(files: Sequence[Path], starts: Sequence[float], camera: str = "gate") -> list[Path]:
    """The files, renamed as ``CAMERA_20240501_130010.mp4``: their starts, seconds after START, rounded down."""
    named = []
    for file, start in zip(files, starts, strict=True):
        at = START + timedelta(seconds=int(start))
        named.append(file.rename(file.with_name(f"{camera}_{at:%Y%m%d_%H%M%S}{file.suffix}")))
    return named


def archive(
    folder: Path, greys: Sequence[int], *, seconds: int = 2, fps: int = 10, camera: str = "gate"
) -> tuple[Path, list[Path]]:
    """A film as a whole, beside ``folder``, and in files of so many seconds in it, named by their times."""
    whole = grey_film(folder.with_name(f"{folder.name}-whole.mp4"), greys, fps=fps, key_every=fps * seconds)
    files = cut(whole, folder, seconds=seconds)
    return whole, name_by_time(files, [seconds * number for number in range(len(files))], camera)
