"""Videos of known brightness, sites over them, and ``mistwatch run`` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.settings import Site, site_from_options

FPS = 10
DARK, BRIGHT = 40, 235


def write_video(
    path: Path, seconds: list[tuple[float, int | tuple[int, int]]], size: tuple[int, int] = (320, 180)
) -> Path:
    """A grey video: so many seconds of each brightness (0..255), or of one for each half, left and right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        number = 0
        for duration, brightness in seconds:
            for _ in range(round(duration * FPS)):
                picture = np.empty((size[1], size[0], 3), np.uint8)
                picture[:, : size[0] // 2], picture[:, size[0] // 2 :] = np.broadcast_to(brightness, 2)
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


def write_site(folder: Path, triton: str, broker: str, cameras: str, metrics_port: int | None = None) -> Path:
    """The same as a file; ``cameras`` is YAML, two spaces in."""
    file = folder / "site.yaml"
    metrics = f"metrics: {{port: {metrics_port}}}\n" if metrics_port else ""
    file.write_text(
        f"site: test\nstate_dir: state\ntriton: {{address: '{triton}'}}\n{metrics}"
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


def scrape(port: int) -> dict[str, float]:
    """The metrics as a Prometheus server would read them, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def wait_for_metric(
    process: subprocess.Popen[str], port: int, name: str, at_least: float, seconds: float = 90.0
) -> dict[str, float]:
    """Wait until the running process counts so much; gives all its metrics then."""
    limit = time.monotonic() + seconds
    metrics: dict[str, float] = {}
    while metrics.get(name, 0.0) < at_least:
        assert time.monotonic() < limit, f"{name} did not come to {at_least:g} within {seconds:g} s: {metrics}"
        assert process.poll() is None, f"the process has ended: {process.stderr.read() if process.stderr else ''}"
        time.sleep(0.1)
        try:
            metrics = scrape(port)
        except OSError:
            continue  # it does not listen yet
    return metrics


def read_until(process: subprocess.Popen[str], text: str, seconds: float = 90.0) -> str:
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
