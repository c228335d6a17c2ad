"""Soak a worker: cameras that come and go for hours, on real servers, and its memory, descriptors, threads and outbox.

    python bench/soak.py --hours 1                              # `make soak HOURS=1`
    python bench/soak.py --hours 0.17 --name "32 at 640x480" --cameras 32 --flapping 0 --synthetic 0

runs `mistwatch run` in a process of its own over RTSP cameras of the tests (tests/support/faulty_camera.py: 640 × 480,
10 pictures a second, sampled at 5) and some rendered ones, an embedded Triton whose model costs nothing, and the
embedded broker. Cameras named by ``--flapping`` are refused, reset, silent and garbled at random. Once a minute the
whole tree of the worker's processes is sampled: memory, open descriptors, threads, processor time; and its metrics.
Memory is that of pages without a file (Pss_Anon and Pss_Shmem of smaps_rollup): pages of files are the kernel's cache,
and a process's share of them depends on what else runs. Clips that wait for the scorer are memory that comes and goes
within seconds. Of the memory, a sample therefore has the lowest and the highest of several looks. The lowest must not
grow; the highest shows the bound of the queues.

It writes bench/results/reliability/soak.json (a run for each name), docs/soak.webp (of the longest run), and the page
docs/RELIABILITY.md. It ends with status 1 where something grows, or where an event that the outbox has accepted is
missing. Only the worker is measured, so
it may run at low priority (``nice``), where delays say nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import reliability  # noqa: E402
from accepted_ledger import read_ledger  # noqa: E402
from delivery_counts import Message, count, ids_in_outbox, make_topic, read_messages  # noqa: E402
from faulty_camera import FaultyCameras  # noqa: E402
from ports import free_port  # noqa: E402
from processor_time import tree_pids, tree_seconds  # noqa: E402
from triton_of_brightness import Server, write_repository  # noqa: E402

from deploy.broker.server import BrokerServer  # noqa: E402

PICTURE = ROOT / "docs" / "soak.webp"
#: ``mistwatch`` that notes what it accepts.
WITH_LEDGER = ROOT / "tests" / "support" / "accepted_ledger.py"
TOPIC = "mistwatch.alerts"
#: Growth that is none: the allocator and caches settle in the first minutes. Shares of the early value, and constants.
_MEMORY_GROWTH, _MEMORY_MB = 0.15, 30.0
_COUNT_GROWTH, _COUNT = 0.10, 24.0
#: Between two looks at the memory, seconds; not a divisor of the 20 s after which the films of the cameras repeat.
_LOOK_SECONDS = 7.0
#: The early and the late value are means over these shares of the run.
_EARLY, _LATE = (0.05, 0.20), (0.85, 1.0)


@dataclass(frozen=True)
class Sample:
    """One look at the worker: the sum over its processes.

    Attributes:
        minutes: since the first sample.
        memory_mb, descriptors, threads, processes: of the tree; the memory is the lowest since the sample before.
        memory_most_mb: the highest since the sample before.
        worker_mb: the part of the worker's own process in the lowest; the rest is that of decoders.
        cpu_seconds: of the tree, since its start; processes that have ended do not count.
        outbox: events that wait.
        connected: cameras that deliver.
        scored: clips so far.
    """

    minutes: float
    memory_mb: float
    memory_most_mb: float
    worker_mb: float
    descriptors: int
    threads: int
    processes: int
    cpu_seconds: float
    outbox: float
    connected: float
    scored: float


@dataclass(frozen=True, order=True)
class Memory:
    """Pages without a file, MB: of a tree of processes, and of its root alone."""

    tree: float
    root: float


def memory_of(pid: int) -> Memory:
    """Return the memory of a tree of processes. A process that ends meanwhile does not count."""
    parts = {each: _without_files(each) for each in tree_pids(pid)}
    return Memory(sum(parts.values()), parts.get(pid, 0.0))


def _without_files(pid: int) -> float:
    """Return a process's part of the pages without a file, MB; 0 after its end."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) / 1000


def look(pid: int, port: int, began: float, memory: Sequence[Memory]) -> Sample:
    """Sample a worker. A process that ends meanwhile does not count.

    Args:
        memory: of the looks since the sample before.
    """
    descriptors = threads = processes = 0
    for each in tree_pids(pid):
        home = Path(f"/proc/{each}")
        try:
            descriptors += len(list((home / "fd").iterdir()))
            threads += len(list((home / "task").iterdir()))
            processes += 1
        except OSError:
            continue
    metrics = read_metrics(port)
    return Sample(
        minutes=(time.monotonic() - began) / 60,
        memory_mb=min(memory).tree,
        memory_most_mb=max(memory).tree,
        worker_mb=min(memory).root,
        descriptors=descriptors,
        threads=threads,
        processes=processes,
        cpu_seconds=tree_seconds(pid),
        outbox=metrics.get("mistwatch_outbox_depth", 0.0),
        connected=metrics.get("mistwatch_camera_connected", 0.0),
        scored=metrics.get("mistwatch_clips_scored_total", 0.0),
    )


def read_metrics(port: int) -> dict[str, float]:
    """Return the worker's metrics, each summed over its labels; empty while it does not answer."""
    sums: dict[str, float] = {}
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return sums
    for line in lines:
        if not line.startswith("#"):
            head, _, value = line.rpartition(" ")
            name = head.partition("{")[0]
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums


class Trouble:
    """Random faults of the cameras that flap. Call :meth:`step` now and then."""

    def __init__(self, cameras: FaultyCameras, names: Sequence[str]) -> None:
        self._cameras, self._names = cameras, list(names)
        self._draw = random.Random(5)
        self._ends: dict[str, tuple[float, dict[str, Any]]] = {}
        self.faults = 0

    def step(self) -> None:
        """End the faults that are due, and begin one."""
        now = time.monotonic()
        for name, (due, command) in list(self._ends.items()):
            if due <= now:
                self._cameras.steer(name, **command)
                del self._ends[name]
        well = [name for name in self._names if name not in self._ends]
        if not well or self._draw.random() < 0.5:
            return
        begin, end = self._draw.choice(
            [
                ({"listening": False}, {"listening": True}),
                ({"silent": True}, {"silent": False}),
                ({"garbage": 0.3}, {"garbage": 0.0}),
                ({"stamps": "back"}, {"stamps": "true"}),
                ({"reset": True}, {"garbage": 0.0}),
            ]
        )
        name = self._draw.choice(well)
        self._cameras.steer(name, **begin)
        self._ends[name] = (now + self._draw.uniform(1.0, 30.0), end)
        self.faults += 1


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run, sample, stop, count. Returns the figures."""
    rtsp = [f"rtsp{number:02}" for number in range(options.cameras - options.synthetic)]
    flapping = rtsp[: round(options.flapping * len(rtsp))]
    triton, port = Server(folder), free_port()
    write_repository(triton.repository, clip_fps="5", clip_height="224", clip_width="224")
    triton.start()
    try:
        with BrokerServer(folder / "broker") as broker, FaultyCameras(rtsp) as cameras:
            make_topic(broker.bootstrap, TOPIC)
            for name in rtsp:
                cameras.steer(name, film="vga")
            sources = {name: cameras.url(name) for name in rtsp} | {
                f"scene{number}": f"synthetic://courtyard?seed={number + 1}&fps=5&width=640"
                for number in range(options.synthetic)
            }
            config = folder / "site.yaml"
            config.write_text(json.dumps(site(folder, triton.address, broker.bootstrap, port, sources)))
            with (folder / "worker.log").open("ab") as log:
                command = [sys.executable, "-P", str(WITH_LEDGER), str(folder / "ledger")]
                command += ["run", "--config", str(config), "--json"]
                worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)
            try:
                samples, faults = watch(worker, port, options, Trouble(cameras, flapping), folder)
                stopped = time.monotonic()
                worker.terminate()
                status = worker.wait(120)
                stop_seconds = time.monotonic() - stopped
            finally:
                if worker.poll() is None:
                    os.killpg(worker.pid, signal.SIGKILL)
                    worker.wait()
            if status != 0:
                raise SystemExit(f"soak: the worker ended with status {status}: {tail(folder)}")
            messages = read_messages(broker.bootstrap, TOPIC)
    finally:
        triton.stop()
    return figures(samples, options.cameras) | {
        "faults": faults,
        **delivered(folder, messages),
        "stop_seconds": stop_seconds,
        "samples": [asdict(sample) for sample in samples],
    }


def delivered(folder: Path, messages: Sequence[Message]) -> dict[str, int]:
    """Return what the outbox has accepted, by the worker's ledger, and what has become of it."""
    counts = count(read_ledger(folder / "ledger"), messages, ids_in_outbox(folder / "state" / "outbox.sqlite"))
    return {
        "accepted": counts.accepted,
        "arrived": counts.arrived - counts.duplicates,
        "missing": counts.missing,
        "duplicates": counts.duplicates,
    }


def site(folder: Path, triton: str, kafka: str, port: int, sources: Mapping[str, str]) -> dict[str, Any]:
    """Return the site's settings."""
    return {
        "site": "soak",
        "state_dir": str(folder / "state"),
        "triton": {"address": triton, "max_in_flight": 8},
        "kafka": {"bootstrap": kafka, "topic": TOPIC},
        "alerts": {"min_clips": 1},
        "evidence": {"quota_mb": 200},
        "metrics": {"port": port},
        "cameras": {name: {"source": source} for name, source in sources.items()},
    }


def watch(
    worker: subprocess.Popen[bytes], port: int, options: argparse.Namespace, trouble: Trouble, folder: Path
) -> tuple[list[Sample], int]:
    """Sample the worker until the time is over. Returns the samples and the number of faults."""
    deadline = time.monotonic() + 300
    while read_metrics(port).get("mistwatch_camera_connected", 0.0) < options.cameras:
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"soak: the cameras are not watched within 300 s: {tail(folder)}")
        time.sleep(1.0)
    began, looks, samples, memory = time.monotonic(), 0, list[Sample](), list[Memory]()
    while (passed := time.monotonic() - began) < options.hours * 3600:
        if worker.poll() is not None:
            raise SystemExit(f"soak: the worker has ended by itself with status {worker.returncode}: {tail(folder)}")
        if passed >= looks * _LOOK_SECONDS:
            looks += 1
            memory.append(memory_of(worker.pid))
        if passed >= len(samples) * options.every and memory:
            samples.append(look(worker.pid, port, began, memory))
            memory = []
            last = samples[-1]
            print(
                f"{last.minutes:6.1f} min: {last.memory_mb:.0f} to {last.memory_most_mb:.0f} MB "
                f"({last.worker_mb:.0f} of the worker itself), "
                f"{last.descriptors} descriptors, {last.threads} threads, {last.connected:.0f} cameras, "
                f"{last.outbox:.0f} events waiting, "
                f"{last.scored:.0f} clips",
                flush=True,
            )
        trouble.step()
        time.sleep(1.0)
    samples.append(look(worker.pid, port, began, [*memory, memory_of(worker.pid)]))
    return samples, trouble.faults


def figures(samples: Sequence[Sample], cameras: int) -> dict[str, Any]:
    """Return the early and the late values, and the processor time."""

    def values(name: str) -> dict[str, float]:
        def average(share: tuple[float, float]) -> float:
            span = samples[-1].minutes
            chosen = [one for one in samples if share[0] * span <= one.minutes <= share[1] * span] or [samples[-1]]
            return mean(getattr(one, name) for one in chosen)

        return {"early": average(_EARLY), "late": average(_LATE), "most": max(getattr(one, name) for one in samples)}

    minutes = samples[-1].minutes
    memory = values("memory_mb")
    return {
        "hours": minutes / 60,
        "cameras": cameras,
        "memory_mb": memory,
        "memory_most_mb": max(one.memory_most_mb for one in samples),
        "worker_mb": values("worker_mb"),
        "mb_a_camera": memory["late"] / cameras,
        "descriptors": values("descriptors"),
        "threads": values("threads"),
        "processes": values("processes"),
        "outbox": values("outbox"),
        "cpu_cores": (samples[-1].cpu_seconds - samples[0].cpu_seconds) / (minutes * 60),
        "clips": samples[-1].scored - samples[0].scored,
    }


def growth(run: Mapping[str, Any]) -> list[str]:
    """Return what has grown or is missing, a line each."""
    problems = []
    for name, share, constant in (
        ("memory_mb", _MEMORY_GROWTH, _MEMORY_MB),
        ("descriptors", _COUNT_GROWTH, _COUNT),
        ("threads", _COUNT_GROWTH, _COUNT),
    ):
        early, late = run[name]["early"], run[name]["late"]
        if late > early * (1 + share) + constant:
            problems.append(f"{name} grew from {early:.0f} to {late:.0f}")
    if run["missing"]:
        problems.append(f"{run['missing']} accepted events are neither on the topic nor in the outbox")
    return problems


def draw(name: str, run: Mapping[str, Any], path: Path) -> None:
    """Draw the samples of one run, a panel for each quantity."""
    from matplotlib.figure import Figure

    panels = [
        ("memory_mb", "memory, MB: lowest and highest of each minute; the worker itself"),
        ("descriptors", "open descriptors"),
        ("threads", "threads"),
        ("connected", "cameras that deliver"),
        ("outbox", "events in the outbox"),
        ("cpu", "processor, cores"),
    ]
    samples = run["samples"]
    minutes = [one["minutes"] for one in samples]
    cores = [0.0]
    for earlier, later in itertools.pairwise(samples):
        span = (later["minutes"] - earlier["minutes"]) * 60
        cores.append(max(0.0, later["cpu_seconds"] - earlier["cpu_seconds"]) / span if span > 0 else cores[-1])
    figure = Figure(figsize=(10, 6.4), facecolor="white", layout="constrained")
    lasted = f"{run['hours']:.1f} h" if run["hours"] >= 1 else f"{run['hours'] * 60:.0f} min"
    figure.suptitle(f"Soak “{name}”: {run['cameras']} cameras, {lasted}, {run['faults']} camera faults")
    for axes, (key, title) in zip(figure.subplots(3, 2, sharex=True).flat, panels, strict=True):
        heights = cores if key == "cpu" else [one[key] for one in samples]
        start = 1 if key == "cpu" else 0
        most = [one["memory_most_mb"] for one in samples] if key == "memory_mb" else heights
        axes.fill_between(
            minutes, heights, most, color="#0072B2", alpha=0.2, linewidth=0
        )  # clips that wait come and go
        axes.plot(minutes[start:], heights[start:], color="#0072B2", linewidth=1.4)
        if key == "memory_mb":
            axes.plot(minutes, [one["worker_mb"] for one in samples], color="#0072B2", linewidth=1.0, linestyle=":")
        axes.set_title(title, fontsize=9, loc="left", color="#22313f")
        axes.set_ylim(0, max([*most, 1]) * 1.15)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors="#22313f")
    for axes in figure.axes[-2:]:
        axes.set_xlabel("minutes", fontsize=8)
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 88})


def tail(folder: Path) -> str:
    """Return the end of the worker's log, without events."""
    lines = (folder / "worker.log").read_text().splitlines()
    return "\n".join(line[:400] for line in lines if not line.startswith('{"specversion"'))[-3000:]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--name", default="cameras that come and go")
    parser.add_argument("--cameras", type=int, default=16, help="RTSP and rendered ones together")
    parser.add_argument("--synthetic", type=int, default=2, help="rendered ones among them")
    parser.add_argument("--flapping", type=float, default=0.5, help="share of the RTSP cameras that come and go")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two samples")
    parser.add_argument(
        "--out", type=Path, help="folder for the figures and the picture in place of the committed ones"
    )
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    results = reliability.SOAK if options.out is None else options.out / "soak.json"
    picture = PICTURE if options.out is None else options.out / "soak.webp"
    results.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        run = soak(options, Path(folder))
    runs = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    runs[options.name] = run
    results.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    longest = max(runs, key=lambda name: runs[name]["hours"])
    draw(longest, runs[longest], picture)
    if options.out is None:
        reliability.write_page()
    problems = growth(run)
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
