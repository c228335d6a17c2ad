"""Videos made to order by Debian's ffmpeg, and a real RTSP server."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import numpy as np
import pytest
import rtsp_server

from pipeline.sources.base import Fit, Frame, FrameSpec, Segment, SegmentOver
from pipeline.sources.files import FileSource


@pytest.fixture(scope="session")
def ffmpeg(require: Callable[[str], NoReturn]) -> Callable[..., bytes]:
    """ffmpeg(*arguments): run Debian's ffmpeg; gives what it wrote to standard output."""
    program = shutil.which("ffmpeg")
    if program is None:
        require("ffmpeg (`make system` installs it)")

    def run(*arguments: str | Path) -> bytes:
        command = [program, "-v", "error", "-nostdin", "-y", *map(str, arguments)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout

    return run


@pytest.fixture(scope="session")
def video(ffmpeg: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """video(name, seconds=2, fps=10, size="320x240", options=…, codec=…): a test film, H.264 without B-frames.

    Made once a name: the same name means the same film.
    """
    folder = tmp_path_factory.mktemp("videos")

    def make(
        name: str,
        *,
        seconds: float = 2,
        fps: float = 10,
        size: str = "320x240",
        options: tuple[str, ...] = ("-bf", "0"),
        codec: str = "libx264",
    ) -> Path:
        path = folder / name
        if not path.exists():
            film = f"testsrc2=size={size}:rate={fps}:duration={seconds}"
            codecs = ("-c:v", codec, *(("-preset", "veryfast") if codec == "libx264" else ()))
            ffmpeg("-f", "lavfi", "-i", film, *codecs, "-pix_fmt", "yuv420p", *options, path)
        return path

    return make


@pytest.fixture(scope="session")
def rgb_frames(ffmpeg: Callable[..., bytes]) -> Callable[..., np.ndarray]:
    """rgb_frames(path, "filters", height, width): uint8 (N, H, W, 3), every frame as Debian's ffmpeg gives it."""

    def decode(path: Path, filters: str, height: int, width: int) -> np.ndarray:
        raw = ffmpeg("-i", path, "-vf", f"{filters},format=rgb24", "-fps_mode", "passthrough", "-f", "rawvideo", "-")
        return np.frombuffer(raw, dtype=np.uint8).reshape(-1, height, width, 3)

    return decode


@pytest.fixture(scope="session")
def read() -> Callable[..., tuple[list[Frame], list[SegmentOver]]]:
    """read(path, fps=None, fit=…, height=120, width=160, **source): a recording's frames and its segments' ends."""

    def run(
        path: Path, *, fps: float | None = None, fit: Fit = Fit.STRETCH, height: int = 120, width: int = 160, **source
    ) -> tuple[list[Frame], list[SegmentOver]]:
        items = list(FileSource("cam", path, **source).frames([FrameSpec(height, width, fit, fps)], threading.Event()))
        ends = [item for item in items if isinstance(item, SegmentOver)]
        frames = [item for item in items if isinstance(item, Frame)]
        _check_order(items)
        return frames, ends

    return run


def _check_order(items: list[Frame | SegmentOver]) -> None:
    """What holds of every stream: a segment is closed once, after its last frame; PTS increase strictly in it."""
    segment: Segment | None = None
    closed: set[str] = set()
    last = float("-inf")
    for item in items:
        assert item.segment.id not in closed
        if isinstance(item, SegmentOver):
            assert item.segment == segment
            closed.add(item.segment.id)
            segment = None
            continue
        if segment is None:
            segment, last = item.segment, float("-inf")
        assert item.segment == segment, "a segment began before the last one was closed"
        assert item.pts_seconds > last
        last = item.pts_seconds
    assert segment is None, "the last segment was not closed"


@pytest.fixture(scope="session")
def rtsp(require: Callable[[str], NoReturn]) -> ModuleType:
    """tests/support/rtsp_server.py, where its server can run: ``rtsp.serve_file(…)``, ``rtsp.serve_live(…)``."""
    missing = rtsp_server.why_missing()
    if missing is not None:
        require(missing)
    return rtsp_server
