"""Measure reading video: decoding, scaling, cutting clips, rendering the courtyard, opening cameras, memory and CPU.

    python bench/sources.py --data ../shared/data [--cameras 8] [--seconds 10] > bench/results/sources.txt

The cameras are GStreamer RTSP servers on this machine, in processes that are not counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import av
import numpy as np

from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings
from pipeline.sources.base import Frame, Segment
from pipeline.sources.files import FileSource
from pipeline.sources.rtsp import RtspSource
from pipeline.windows import ClipSpec, WindowCutter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import rtsp_server

SPEC = ClipSpec()
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


def decode_only(path: Path) -> tuple[int, float]:
    started = time.process_time()
    with closing(av.open(str(path))) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        count = sum(1 for _ in container.decode(stream))
    return count, time.process_time() - started


def as_source(path: Path, fps: float | None) -> tuple[int, float]:
    """Read a film, scale and cut ``fps`` pictures per second into clips; return decoded pictures and CPU seconds."""
    spec = ClipSpec(fps=fps)
    started = time.process_time()
    cutter = WindowCutter(spec)
    for item in FileSource("bench", path, threads=1).frames([spec.frame_spec], threading.Event()):
        cutter.push(item)
    took = time.process_time() - started
    return decode_only(path)[0], took


def rates(paths: list[Path]) -> None:
    print("\nDecoded pictures per second of one core's time (one thread; clips of 16 × 224 × 224, stride 16)")
    print(f"{'':38}{'decode only':>14}{'native, clips':>16}{'5 fps, clips':>16}{'ms to scale':>14}")
    for path in paths:
        with closing(av.open(str(path))) as container:
            stream = container.streams.video[0]
            name = f"{path.name} {stream.width}×{stream.height} {float(stream.average_rate or 0):.0f} fps"
        count, bare = decode_only(path)
        _, native = as_source(path, None)
        _, resampled = as_source(path, 5.0)
        per_frame = (native - bare) / count * 1000
        print(f"{name:38}{count / bare:14.0f}{count / native:16.0f}{count / resampled:16.0f}{per_frame:14.2f}")


def cutting() -> None:
    print("\nCutting clips of 16 × 224 × 224 (pictures with the scaler's padded rows), 1000 frames")
    segment = Segment("bench/0", "bench", live=False)
    native = av.VideoFrame(16, 16, "gray")
    now = datetime.now(UTC)
    pictures = [np.zeros((224, 256, 3), dtype=np.uint8)[:, :224] for _ in range(32)]
    for stride in (16, 8, 4, 32):
        spec = ClipSpec(stride=stride)
        cutter = WindowCutter(spec)
        frames = [Frame(segment, n / 10, None, now, {spec.frame_spec: pictures[n % 32]}, native) for n in range(1000)]
        copied = 0
        started = time.perf_counter()
        for frame in frames:
            clip = cutter.push(frame)
            if clip is not None:
                copied += clip.pixels.nbytes  # type: ignore[union-attr]
        took = time.perf_counter() - started
        print(f"  stride {stride:2}: {copied / 1000:9.0f} bytes copied a frame, {took:.3f} ms a frame")


def opening(film: Path) -> None:
    print("\nFrom the call to the first frame of a 10 fps camera, key frames 1 s apart, seconds (5 tries)")
    for transport in ("tcp", "udp"):
        with rtsp_server.serve_file(film, transport=transport) as server:
            waits = []
            for _ in range(5):
                source = RtspSource("bench", server.url, transport=transport)
                started = time.monotonic()
                with closing(source.frames([SPEC.frame_spec], threading.Event())) as items:
                    next(items)
                waits.append(time.monotonic() - started)
        print(f"  {transport}: median {statistics.median(waits):.2f}, from {min(waits):.2f} to {max(waits):.2f}")


def cameras(film: Path, count: int, seconds: float) -> None:
    print(f"\n{count} cameras in threads of one process, {film.name}, cut into clips, {seconds:.0f} s")
    with ExitStack() as stack:
        servers = [stack.enter_context(rtsp_server.serve_file(film)) for _ in range(2)]
        # everything that only the first camera loads (decoder, scaler, tables) is not part of a camera's share
        first = RtspSource("bench", servers[0].url)
        with closing(first.frames([SPEC.frame_spec], threading.Event())) as items:
            list(islice(items, 20))
        before = resident_mb()
        stop = threading.Event()
        counts = [0] * count

        def watch(number: int) -> None:
            cutter = WindowCutter(SPEC)
            source = RtspSource(f"cam{number}", servers[number % len(servers)].url)
            for item in source.frames([SPEC.frame_spec], stop):
                cutter.push(item)
                counts[number] += 1

        threads = [threading.Thread(target=watch, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        time.sleep(5)
        cpu, frames, started = time.process_time(), sum(counts), time.monotonic()
        time.sleep(seconds)
        cpu, frames, wall = time.process_time() - cpu, sum(counts) - frames, time.monotonic() - started
        after = resident_mb()
        stop.set()
        for thread in threads:
            thread.join()
    print(f"  frames: {frames / wall / count:.2f} a second a camera")
    print(f"  CPU: {100 * cpu / wall / count:.1f} % of a core a camera")
    print(f"  memory: {(after - before) / count:.1f} MB a camera ({after:.0f} MB the process)")


def rendering() -> None:
    print("\nRendering the courtyard, 100 frames spread over a minute, per second of one core's time")
    for width, height in ((640, 360), (1280, 720), (1920, 1080)):
        scene = Courtyard(SceneSettings(seed=1, seconds=60, width=width, height=height))
        scene.frame(0)  # paints the static background once
        started = time.process_time()
        for number in range(0, 700, 7):
            scene.frame(number)
        took = (time.process_time() - started) / 100
        print(f"  {width}×{height}: {1 / took:.0f} frames, {took * 1000:.1f} ms each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, ", end="")
    print(f"Python {platform.python_version()}, PyAV {av.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        vtest = arguments.data / "cctv" / "vtest.avi"
        film, large = Path(folder) / "vtest-h264.mp4", Path(folder) / "vtest-720p.mp4"
        encode = ["ffmpeg", "-v", "error", "-i", str(vtest), "-c:v", "libx264", "-preset", "veryfast", "-bf", "0"]
        subprocess.run([*encode, "-g", "10", str(film)], check=True)
        subprocess.run([*encode, "-vf", "scale=1280:720", "-frames:v", "200", str(large)], check=True)
        rates([vtest, film, large, arguments.data / "cctv" / "car-detection.mp4"])
        cutting()
        rendering()
        opening(film)
        cameras(film, arguments.cameras, arguments.seconds)


if __name__ == "__main__":
    main()
