"""Measure the time that an hour of footage takes to learn, stage by stage.

    python bench/learning_time.py [--detector fused] [--film ../shared/data/cctv/vtest.avi] [--minutes 60]

writes bench/results/learning_time-DETECTOR.json and .md. ffmpeg repeats the film to that length. Other work on
the machine lengthens the time, so the page has the processor time and the load beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from recorded import record
from rich.console import Console

from models.data.normal_footage import read_footage
from models.detectors.base import FAMILIES, LearnsFrom, find_family

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
ASKED_MINUTES = 20  #: on two cores, for an hour
DETECTORS = [name for name in FAMILIES if find_family(name).learns_from is LearnsFrom.NORMAL_FOOTAGE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=DETECTORS, default="fused")
    parser.add_argument("--film", type=Path, default=ROOT.parent / "shared" / "data" / "cctv" / "vtest.avi")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        film = repeated(options.film, 60 * options.minutes, Path(folder) / "long.mkv")
        results = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "detector": options.detector,
            "film": options.film.name,
            "cores": len(os.sched_getaffinity(0)),
            **learned(options.detector, film, Path(folder) / "run"),
        }
    results["load_average"] = [round(load, 2), round(os.getloadavg()[0], 2)]
    record(options.results, f"learning_time-{options.detector}", results, page(results))
    print(page(results), end="")


def repeated(film: Path, seconds: float, long: Path) -> Path:
    """Write a film that repeats another one, without coding it again."""
    source = ("-stream_loop", "-1", "-i", film, "-t", str(seconds), "-an", "-c", "copy")
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", *source, long], check=True)
    return long


def learned(detector: str, film: Path, run: Path) -> dict[str, Any]:
    """Learn from the film; return the minutes of each stage, and of all."""
    console = Console(stderr=True)
    began: list[tuple[str, float]] = []

    def report(line: str) -> None:
        console.print(line)
        if line.endswith(": runs"):
            began.append((line.removesuffix(": runs"), time.monotonic()))

    processor = time.process_time()
    began.append(("reading", time.monotonic()))
    footage = read_footage("long", [film], hold_out=0.2)
    outcome = find_family(detector).trainer()(footage, run, report=report, keep=True)
    ends = [*began, ("", time.monotonic())]
    return {
        "footage_minutes": round(footage.seconds / 60, 1),
        "pictures": [footage.films[0].width, footage.films[0].height],
        "fps": outcome.card.clip.fps,
        "stages": {name: round((end - start) / 60, 2) for (name, start), (_, end) in pairwise(ends)},
        "minutes": round((ends[-1][1] - ends[0][1]) / 60, 1),
        "processor_minutes": round((time.process_time() - processor) / 60, 1),
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    width, height = results["pictures"]
    before, after = results["load_average"]
    return "\n".join(
        [
            f"# Time to learn: {results['detector']}",
            "",
            f"`mistwatch learn … --detector {results['detector']}` on {results['footage_minutes']:g} minutes of "
            f"{width}×{height} at {results['fps']:g} frames a second (`{results['film']}`, repeated) took "
            f"**{results['minutes']:g} minutes** on {results['cores']} cores, and {results['processor_minutes']:g} "
            f"minutes of processor time. The load average was {before:g} at the beginning and {after:g} at the end.",
            "",
            "| stage | minutes |",
            "|---|--:|",
            *(f"| {name} | {minutes:.1f} |" for name, minutes in results["stages"].items()),
            "",
        ]
    )


if __name__ == "__main__":
    main()
