"""Two things measured alternately in one run: a claim is a ratio of them, with its spread and its machine.

Everything under "performance" is measured with this: timings are noisy, and other load on the machine then affects both
alike. :func:`append` adds a run to ``bench/results/performance/NAME.jsonl``; ``bench/performance.py`` writes
docs/PERFORMANCE.md from the newest line of each.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.engines.device import processor_features

PERFORMANCE = Path(__file__).resolve().parent / "results" / "performance"
#: Packages whose versions belong to a measurement.
_PACKAGES = ("av", "openvino", "torch", "nncf", "tritonclient", "opencv-python-headless", "decord", "torchcodec")


@dataclass(frozen=True)
class Ratio:
    """The time of the first thing over that of the second: above 1, the second is faster.

    Attributes:
        median: of the rounds' ratios.
        low, high: the 10th and 90th percentile of the rounds' ratios.
        rounds: number of them.
    """

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def alternate(
    works: Mapping[str, Callable[[], object]], *, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of each work in each round; one unmeasured round comes first.

    Every second round runs in the opposite order, so that none always follows the same one.

    Args:
        clock: ``time.process_time`` measures processor time of this process instead.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        order = list(works) if number % 2 else list(reversed(works))
        for name in order:
            began = clock()
            works[name]()
            if number:
                taken[name].append(clock() - began)
    return taken


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Return first over second, round by round. Raises ValueError: not the same number of rounds, or none."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    if not ratios:
        raise ValueError("a ratio needs at least one round, got 0")
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0], 1)
    tenths = statistics.quantiles(ratios, n=10, method="inclusive")
    return Ratio(statistics.median(ratios), tenths[0], tenths[-1], len(ratios))


def machine() -> dict[str, Any]:
    """Return the machine, its load and the packages that decide a measurement."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    about = {key.strip(): value.strip() for key, value in lines.items()}
    return {
        "cpu": about.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "features": processor_features(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": found,
    }


def append(name: str, results: Mapping[str, Any], folder: Path = PERFORMANCE) -> None:
    """Add a run to ``NAME.jsonl``: its results with the time and the machine. A :class:`Ratio` becomes a mapping."""
    folder.mkdir(parents=True, exist_ok=True)
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), **results}
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False, default=asdict) + "\n")


def newest(name: str, folder: Path = PERFORMANCE) -> dict[str, Any] | None:
    """Return the newest run of a bench; None where it has not run."""
    file = folder / f"{name}.jsonl"
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
    return found
