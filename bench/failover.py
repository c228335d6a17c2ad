"""Seconds until every camera of a group is watched again when a worker is killed, and over a rolling restart.

``python bench/failover.py [--rounds 20] [--workers 3] [--cameras 24] [--broker apache|embedded]``

Workers are processes, ``mistwatch run --group``. They watch cameras of small pictures, two a second, with a Triton
that scores the brightness of a clip, so next to nothing is computed. Each camera has an alert that stays open. A camera
is watched while its count of scored clips rises, as the workers' metrics have it (looked at every 0.2 s; a clip a
second).

The embedded broker never ends the session of a member that is silent: only a restart is measured there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from brokers import JARS, ApacheKafka
from group_workers import GroupWorker, Pictures, Watchman, add_cameras, states_by_camera
from recorded import record
from triton_of_brightness import Server

from deploy.broker.server import BrokerServer

RESULTS = Path(__file__).parent / "results"
#: Starting a worker, on a machine that is busy with others.
START_SECONDS = 300.0


def main() -> None:
    """Measure, print and record."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--cameras", type=int, default=24)
    options.add_argument("--broker", choices=["apache", "embedded"], default="apache" if JARS.is_dir() else "embedded")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--record", action="store_true", help="write bench/results/failover.json and .md")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="failover-") as folder, contextlib.ExitStack() as stack:
        results = measure(Path(folder), given, stack)
    page = page_of(results)
    print(page)
    if given.record:
        record(RESULTS, "failover", results, page)


def measure(folder: Path, given: argparse.Namespace, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Return the figures."""
    broker: Any
    if given.broker == "apache":
        broker = ApacheKafka(folder / "broker", JARS)
    else:
        broker = BrokerServer(folder / "broker")
        broker.start()
    triton = Server(folder / "triton")
    triton.start()
    pictures = stack.enter_context(Pictures())
    names = [f"cam{number:02}" for number in range(given.cameras)]
    workers = [
        GroupWorker(folder / f"worker{number}", triton.address, broker.bootstrap) for number in range(given.workers)
    ]
    watchman = Watchman(workers)
    try:
        add_cameras(broker.bootstrap, pictures, names)
        for worker in workers:
            worker.start()
        settle(watchman, workers, names)
        began = states_by_camera(broker.bootstrap)
        rolling = restart_one_by_one(watchman, workers, names)
        print(f"rolling restart: {rolling}", file=sys.stderr, flush=True)
        killed = kill_again_and_again(watchman, workers, names, given) if given.broker == "apache" else []
        states = states_by_camera(broker.bootstrap)
    finally:
        watchman.stop()
        for worker in workers:
            worker.kill()
        triton.stop()
        broker.stop()
    return {
        "broker": given.broker,
        "workers": given.workers,
        "cameras": given.cameras,
        "cores": os.cpu_count(),
        "load_at_the_end": round(os.getloadavg()[0], 1),
        "killed": killed,
        "rolling_restart": rolling,
        "begins_before": sum(counts["begin"] for counts in began.values()),
        "begins_after": sum(counts["begin"] for counts in states.values()),
        "ends": sum(counts["end"] for counts in states.values()),
        "begun_twice": sum(counts["begin"] > 1 for counts in states.values()),
    }


def settle(watchman: Watchman, workers: list[GroupWorker], names: list[str]) -> None:
    """Wait until all cameras are watched, each worker has some, and all of them are in the group."""
    watchman.wait_for(lambda now: now.owners.keys() == set(names), START_SECONDS)
    watchman.wait_for(lambda now: len(set(now.owners.values())) == len(workers), START_SECONDS)
    watchman.wait_for(
        lambda _: all(worker.metrics().get("mistwatch_group_workers") == len(workers) for worker in workers),
        START_SECONDS,
    )


def restart_one_by_one(watchman: Watchman, workers: list[GroupWorker], names: list[str]) -> dict[str, Any]:
    """Restart each worker, and return the longest gap of a camera."""
    time.sleep(5)
    watchman.reset()
    stops = []
    for worker in workers:
        stops.append(round(worker.terminate(60), 1))
        worker.start()
        settle(watchman, workers, names)
        time.sleep(3)
    return {"longest_gap_seconds": round(watchman.longest_gap(), 1), "stops_seconds": stops}


def kill_again_and_again(
    watchman: Watchman, workers: list[GroupWorker], names: list[str], given: argparse.Namespace
) -> list[dict[str, Any]]:
    """Kill a worker, wait until its cameras are watched, start it again; return each round."""
    draw = random.Random(given.seed)
    rounds = []
    for number in range(given.rounds):
        time.sleep(draw.uniform(2, 5))
        victim = draw.randrange(len(workers))
        lost = [camera for camera, owner in watchman.owners.items() if owner == victim]
        killed = time.monotonic()
        workers[victim].kill()
        watchman.wait_for(lambda now: all(now.owners[each] != victim for each in lost), 120)  # noqa: B023
        seconds = time.monotonic() - killed
        rounds.append({"cameras_lost": len(lost), "seconds": round(seconds, 1)})
        print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr, flush=True)
        workers[victim].start()
        settle(watchman, workers, names)
    return rounds


def page_of(results: dict[str, Any]) -> str:
    """Return the page of the results."""
    lines = [
        "# Failover of a group",
        "",
        f"{results['workers']} workers, {results['cameras']} cameras, broker: {results['broker']}, "
        f"{results['cores']} cores (load {results['load_at_the_end']}). Made by `bench/failover.py`.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    if killed := results["killed"]:
        seconds = sorted(each["seconds"] for each in killed)
        lines += [
            f"| workers killed (SIGKILL) | {len(killed)} |",
            f"| cameras lost, in all | {sum(each['cameras_lost'] for each in killed)} |",
            f"| seconds until every camera is watched again, median | {statistics.median(seconds):.1f} |",
            f"| the same, longest | {seconds[-1]:.1f} |",
        ]
    rolling = results["rolling_restart"]
    lines += [
        f"| longest gap of a camera over a rolling restart, seconds | {rolling['longest_gap_seconds']:.1f} |",
        f"| seconds from SIGTERM to the end of a worker | {', '.join(map(str, rolling['stops_seconds']))} |",
        f"| alerts open | {results['begins_before']} |",
        f"| alerts begun twice | {results['begun_twice']} |",
        f"| alerts ended | {results['ends']} |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
