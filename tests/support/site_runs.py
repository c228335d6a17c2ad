"""Videos of known brightness, sites over them, and ``mistwatch run`` in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.settings import Site, site_from_options

FPS = 10
DARK, BRIGHT = 40, 235


def write_video(path: Path, seconds: list[tuple[float, int]], size: tuple[int, int] = (320, 180)) -> Path:
    """A grey video: so many seconds of each brightness (0..255)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        number = 0
        for duration, brightness in seconds:
            for _ in range(round(duration * FPS)):
                picture = np.full((size[1], size[0], 3), brightness, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
                number += 1
        container.mux(stream.encode(None))
    return path


def site(folder: Path, triton: str, broker: str, cameras: dict[str, Any], **more: Any) -> Site:
    """A site that keeps its state in ``folder``, on a topic of its own."""
    return site_from_options(
        {
            "site": "test",
            "state_dir": folder / "state",
            "triton": {"address": triton},
            "kafka": {"bootstrap": broker, "topic": f"t{folder.name}"},
            "alerts": {"min_clips": 1},
            "cameras": cameras,
            **more,
        }
    )


def write_site(folder: Path, triton: str, broker: str, cameras: str) -> Path:
    """The same as a file; ``cameras`` is YAML, two spaces in."""
    file = folder / "site.yaml"
    file.write_text(
        f"site: test\nstate_dir: state\ntriton: {{address: '{triton}'}}\n"
        f"kafka: {{bootstrap: '{broker}', topic: t{folder.name}}}\nalerts: {{min_clips: 1}}\ncameras:\n{cameras}"
    )
    return file


def start_run(config: Path) -> subprocess.Popen[str]:
    """``mistwatch run --json``."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.cli", "run", "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_until(process: subprocess.Popen[str], text: str, seconds: float = 30.0) -> str:
    """Standard error up to the line with ``text``."""
    assert process.stderr is not None
    read: list[str] = []
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        for line in process.stderr:
            read.append(line)
            if text in line:
                return "".join(read)
    finally:
        watchdog.cancel()
    raise AssertionError(f"{text!r} was never said:\n{''.join(read)}")
