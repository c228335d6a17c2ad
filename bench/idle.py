"""Measure what waits and has nothing to do: ``mistwatch alerts tail``, and a worker before whose cameras nothing moves.

    python bench/idle.py [--seconds 20] [--rounds 4] [--cameras 4]

**The reader** waits at the embedded broker for events that do not come.

**The worker** watches cameras that play a still film with the noise of a sensor (640×480, 25 fps), with an embedded
Triton whose tiny model may be gated: its clips are 16 pictures of 224×224 at 12.5 fps. Beside it, two processes read
the same cameras with the same source: one only decodes, the other one also scales. All run at the same time, and the
processor time of each, with that of the processes that it has started, is read at the same moments. "Beyond decoding"
is the worker's share of a core less that of the process that decodes. Where the worker gates nothing, the results say
so (``gated`` 0): they then include the sending of every clip. Appends to bench/results/performance/idle.jsonl.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import yaml
from alternately import append
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from processor_time import tree_seconds
from rich.console import Console

from deploy.broker.server import BrokerServer
from deploy.camera.server import CameraServer
from deploy.errors import DeployError
from deploy.lifetime import end_with_parent
from deploy.triton.server import TritonServer
from pipeline.errors import MistwatchError
from pipeline.live.service import source_options
from pipeline.settings import CameraSettings
from pipeline.sources.base import FrameSpec
from pipeline.sources.factory import open_source

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import triton_of_brightness
from ports import free_port

TOPIC = "mistwatch.alerts"
WIDTH, HEIGHT, FPS = 640, 480, 25
FILM_SECONDS = 20
#: Of the model's clips: those of a plain encoder, at the rate of the committed models.
FRAMES, SIDE, CLIP_FPS = 16, 224, 12.5
#: Limit for the worker to have its first clips.
START_SECONDS = 120.0
#: The gate learns the noise of the cameras first, and connections are made.
WARM_UP_SECONDS = 20.0
ASKED_SHARE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--read", nargs="+", metavar="URL", help=argparse.SUPPRESS)  # the processes beside the worker
    parser.add_argument("--scale", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read, scale=options.scale)
        return
    if min(options.rounds, options.cameras) < 1 or not options.seconds >= 1:
        parser.error("expected at least 1 round, 1 camera and 1 second")
    try:
        results = measured(options.seconds, options.rounds, options.cameras, Console(stderr=True))
    except (DeployError, MistwatchError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    append("idle", results)
    print(page(results), end="")


def measured(seconds: float, rounds: int, cameras: int, console: Console) -> dict[str, Any]:
    """Run the reader, the worker and the processes beside it, and return the results."""
    with tempfile.TemporaryDirectory(prefix="mistwatch-bench-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        broker = stack.enter_context(BrokerServer(folder / "broker"))
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics([NewTopic(TOPIC, 1, 1)])
        admin.close()
        film = write_film(folder / "still.mp4")
        server = stack.enter_context(CameraServer({f"camera-{number}": film for number in range(cameras)}))
        urls = {name: server.url(name) for name in server.files}
        address = stack.enter_context(TritonServer(write_model(folder / "models"))).grpc_address
        port = free_port()
        site = {
            "site": "bench",
            "state_dir": str(folder / "state"),
            "triton": {"address": address},
            "kafka": {"bootstrap": broker.bootstrap},
            "metrics": {"port": port},
            "cameras": {name: {"source": url} for name, url in urls.items()},
        }
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        mistwatch = [sys.executable, "-P", "-m", "pipeline.cli"]
        reading = [sys.executable, str(Path(__file__).resolve()), "--read", *urls.values()]
        commands = {
            "tail": [*mistwatch, "alerts", "tail", "--bootstrap", broker.bootstrap],
            "worker": [*mistwatch, "run", "--config", str(folder / "site.yaml")],
            "decoding": reading,
            "scaling": [*reading, "--scale"],
        }
        pids = {name: stack.enter_context(running(name, command, folder)) for name, command in commands.items()}
        console.print(f"{WARM_UP_SECONDS:g} s to warm up, {rounds} rounds of {seconds:g} s")
        await_clips(port)
        time.sleep(WARM_UP_SECONDS)
        before = counts(port)
        shares: dict[str, list[float]] = {name: [] for name in pids}
        for _ in range(rounds):
            spent, began = {name: tree_seconds(pid) for name, pid in pids.items()}, time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            for name, pid in pids.items():
                shares[name].append((tree_seconds(pid) - spent[name]) / took)
        clips = {name: count - before[name] for name, count in counts(port).items()}
    return figures(shares, clips, cameras, seconds, rounds)


def figures(
    shares: Mapping[str, Sequence[float]], clips: Mapping[str, float], cameras: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """Return the results of shares of a core by process, one a round, and of the worker's counts of clips."""

    def spread(values: Sequence[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "low": min(values), "high": max(values)}

    rest = {
        f"beyond_{name}": spread([a - b for a, b in zip(shares["worker"], shares[name], strict=True)])
        for name in ("decoding", "scaling")
    }
    return {
        "cameras": cameras,
        "seconds": seconds,
        "rounds": rounds,
        "asked": ASKED_SHARE,
        "scored": clips["scored"],
        "gated": clips["gated"],
        "share_of_a_core": {name: spread(values) for name, values in shares.items()} | rest,
    }


def page(results: Mapping[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    names = {
        "tail": "`mistwatch alerts tail`",
        "worker": "worker",
        "decoding": "decoding alone",
        "scaling": "decoding and scaling alone",
        "beyond_decoding": "worker beyond decoding",
        "beyond_scaling": "worker beyond decoding and scaling",
    }
    lines = [
        f"{results['cameras']} still cameras; the worker gated {results['gated']:.0f} clips and scored "
        f"{results['scored']:.0f}.",
        "",
        "| share of one core | median | smallest to largest of the rounds |",
        "|---|--:|--:|",
    ]
    for name, what in names.items():
        one = results["share_of_a_core"][name]
        lines.append(f"| {what} | {one['median']:.2%} | {one['low']:.2%} to {one['high']:.2%} |")
    return "\n".join(lines) + "\n"


def write_film(path: Path) -> Path:
    """Write a film of one picture with the noise of a sensor, as a camera would send it."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.uniform(30, 220, (HEIGHT // 40, WIDTH // 40, 3)), np.ones((40, 40, 1)))
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {"bf": "0", "g": str(2 * FPS), "preset": "veryfast", "b": "2000000"}
        for _ in range(FILM_SECONDS * FPS):
            noisy = (scene + rng.normal(0, 2, scene.shape)).clip(0, 255).astype(np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")))
        film.mux(stream.encode())
    return path


def write_model(folder: Path) -> Path:
    """Write a repository with a model that costs almost nothing and may be gated."""
    clip = {"clip_frames": FRAMES, "clip_height": SIDE, "clip_width": SIDE, "clip_stride": FRAMES, "clip_fps": CLIP_FPS}
    with patch.object(triton_of_brightness, "T", FRAMES):
        return triton_of_brightness.write_repository(
            folder, features=False, gate="allowed", **{key: str(value) for key, value in clip.items()}
        )


@contextmanager
def running(name: str, command: Sequence[str], folder: Path) -> Iterator[int]:
    """Run a process for the block, and yield its id. Raises MistwatchError: it has ended by itself."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=end_with_parent)
        try:
            yield process.pid
            if process.poll() is not None:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise MistwatchError(f"{name}: ended by itself (got {' '.join(last)})")
        finally:
            process.kill()
            process.wait()


def await_clips(port: int) -> None:
    """Wait for the worker's first clips. Raises MistwatchError: they do not come."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        with suppress(OSError):
            if sum(counts(port).values()):
                return
        time.sleep(0.2)
    raise MistwatchError(f"worker: no clip within {START_SECONDS:g} s")


def counts(port: int) -> dict[str, float]:
    """Return the numbers of clips that the worker has scored and gated, from its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: sum(float(line.split()[-1]) for line in lines if line.startswith(f"mistwatch_clips_{name}_total"))
        for name in ("scored", "gated")
    }


def read(urls: Sequence[str], *, scale: bool) -> None:
    """Read cameras until this process is killed.

    Args:
        scale: scale the pictures of the clips, too.
    """
    specs = [FrameSpec(SIDE, SIDE, fps=CLIP_FPS)] if scale else []

    def run(name: str, url: str) -> None:
        source = open_source(name, url, source_options(CameraSettings(source=url)))
        for _ in source.frames(specs, threading.Event()):
            pass

    threads = [threading.Thread(target=run, args=(f"camera-{n}", url)) for n, url in enumerate(urls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
