"""Measure what it costs to contain a decoder's crash: cameras as threads of the worker, or in decoder processes.

    python bench/containment.py [--data ../shared/data] [--rounds 3] [--seconds 6] [--counts 4 8 16 32]

adds a line to bench/results/performance/containment.jsonl. The ways are measured alternately, each in a process tree of
its own with a whole worker: cameras as threads of the worker, a decoder process for each camera, and one for several.
The cameras are live: films of 640 × 480 and 25 pictures a second at the pace of their own clock, read by the code of
all live cameras but for the network. Clips have 16 pictures of 224 × 224 at 5 a second; the scorer answers at once.

Processor time is that of the whole tree, per second of a camera. Memory is the PSS of the whole tree, and that of one
more camera is the slope from the fewest cameras to the most. The delay of a frame is the time from its arrival at the
decoder to the worker having it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from alternately import append, ratio
from cameras import make_film, stub_worker
from film_camera import open_camera
from processor_time import tree_pids, tree_seconds

from operators.chain import ChainSettings
from pipeline.live.board import Board
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.judging import chain_settings
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import AlertTuning
from pipeline.sources.base import Frame
from pipeline.sources.isolation.pool import DecoderPool
from pipeline.sources.isolation.source import IsolatedSource
from pipeline.windows import ClipSpec

ROOT = Path(__file__).resolve().parent.parent
CLIP = ClipSpec(fps=5.0)
SERVED = ServedModel("stub", "1", CLIP, threshold=0.5, kernel=3)
COUNTS = (4, 8, 16, 32)
#: The ways by their names: cameras that share a decoder process; 0: they are threads of the worker.
WAYS = {"threads": 0, "a process each": 1, "four a process": 4}
WARM_SECONDS = 6.0  #: until every camera has its process, its decoder, its scaler and frames


def chain(served: ServedModel) -> ChainSettings:
    return chain_settings(AlertTuning(), served, max_in_flight=4)


class Delays:
    """A listener that notes how long each frame took to the worker, seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def frame(self, _camera: str, frame: Frame) -> None:
        self.seconds.append(time.monotonic() - frame.arrived_at)

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_options: None


def pss_mb() -> float:
    total = 0
    for pid in tree_pids():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


def measure(film: Path, count: int, cameras_each: int, seconds: float) -> dict[str, float]:
    """Run a worker of so many cameras; return its costs."""
    pool = DecoderPool(cameras_each=cameras_each) if cameras_each else None

    def plan(camera: str) -> CameraPlan:
        opening = partial(open_camera, camera, film)
        build = opening if pool is None else partial(IsolatedSource, camera, opening, pool)
        return CameraPlan(camera, build, [DetectorPlan(CLIP, SERVED, chain)])

    board, delays = Board(), Delays()
    worker = stub_worker(CLIP, board, delays)
    worker.start()
    for number in range(count):
        worker.add(plan(f"camera-{number}"))
        time.sleep(WARM_SECONDS / 2 / count)
    deadline = time.monotonic() + 120
    while sum(state.frames > 0 for state in board.states) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{count} cameras did not start")
        time.sleep(0.05)
    time.sleep(WARM_SECONDS / 2)
    delays.seconds.clear()
    frames, spent, began = sum(state.frames for state in board.states), tree_seconds(), time.monotonic()
    time.sleep(seconds)
    frames = sum(state.frames for state in board.states) - frames
    spent, lasted = tree_seconds() - spent, time.monotonic() - began
    found = {
        "core_share_a_camera": spent / (frames / 5.0),
        "pss_mb": pss_mb(),
        "on_time": frames / (lasted * 5.0 * count),
        "delay_ms_median": 1000 * statistics.median(delays.seconds),
        "delay_ms_p99": 1000 * statistics.quantiles(delays.seconds, n=100)[98],
    }
    worker.stop()
    if pool is not None:
        pool.close()
    return found


def in_a_process(film: Path, count: int, cameras_each: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(film), str(count), str(cameras_each)]
    done = subprocess.run([*command, "--seconds", str(seconds)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(runs: dict[str, dict[int, list[dict[str, float]]]]) -> dict[str, Any]:
    """Return the medians by way and number of cameras, the slope of memory, and the ratios of processor time."""
    ways: dict[str, Any] = {}
    for way, by_count in runs.items():
        fewest, most = min(by_count), max(by_count)
        slopes = [
            (many["pss_mb"] - few["pss_mb"]) / (most - fewest)
            for few, many in zip(by_count[fewest], by_count[most], strict=True)
        ]
        ways[way] = {
            "cameras": {
                str(count): {name: statistics.median(run[name] for run in found) for name in found[0]}
                for count, found in by_count.items()
            },
            "memory_mb_a_camera": statistics.median(slopes),
        }
    counts = list(runs["threads"])
    ratios = {
        way: {
            str(count): ratio(
                [run["core_share_a_camera"] for run in by_count[count]],
                [run["core_share_a_camera"] for run in runs["threads"][count]],
            )
            for count in counts
        }
        for way, by_count in runs.items()
        if way != "threads"
    }
    return {"ways": ways, "processor_time_to_threads": ratios}


def print_table(results: dict[str, Any]) -> None:
    print("640 × 480, 25 pictures a second, of which 5 are scaled and cut into clips")
    print(f"{'':>16}{'cameras':>8}{'core a camera':>15}{'PSS, MB':>9}{'on time':>9}{'delay, ms':>11}{'p99':>7}")
    for way, found in results["ways"].items():
        for count, one in found["cameras"].items():
            print(
                f"{way:>16}{count:>8}{one['core_share_a_camera']:15.2%}{one['pss_mb']:9.0f}{one['on_time']:9.0%}"
                f"{one['delay_ms_median']:11.2f}{one['delay_ms_p99']:7.1f}"
            )
        print(f"{way:>16}  one more camera: {found['memory_mb_a_camera']:.1f} MB")
    for way, by_count in results["processor_time_to_threads"].items():
        print(f"{way}, processor time to threads: {', '.join(f'{n}: {one}' for n, one in by_count.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs=3, metavar=("FILM", "COUNT", "EACH"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of cctv/vtest.avi")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--film", type=Path, help="a film as this bench makes it; default: make it")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="numbers of cameras")
    options = parser.parse_args()
    if options.child:
        film, count, each = options.child
        print(json.dumps(measure(Path(film), int(count), int(each), options.seconds)))
        sys.stdout.flush()
        os._exit(0)
    if options.film is None and not (options.data / "cctv" / "vtest.avi").exists():
        parser.exit(2, f"{parser.prog}: {options.data}: lacks cctv/vtest.avi; give its folder with --data\n")
    runs: dict[str, dict[int, list[dict[str, float]]]] = {way: {n: [] for n in options.counts} for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        film = options.film or make_film(options.data, Path(folder), 600)
        for number in range(options.rounds):
            for count in options.counts:
                for way, each in list(WAYS.items())[:: 1 if number % 2 else -1]:
                    runs[way][count].append(in_a_process(film, count, each, options.seconds))
    results = summary(runs)
    print_table(results)
    append("containment", results)


if __name__ == "__main__":
    main()
