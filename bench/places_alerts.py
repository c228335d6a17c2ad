"""Measure how often alerts of the demo name the right place and thing.

    python bench/places_alerts.py [--runs 3] [--seconds 66]

writes bench/results/places_alerts.json and .md. Runs the demo on one pair of cameras after another, whose days no
training has seen. Counted are alerts about an incident: the renderer knows the thing that takes part, and the ground on
which it stands. An alert without place counts as wrong. The intervals are Wilson's, as if alerts were independent.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorded import record

RESULTS = Path(__file__).resolve().parent / "results"
#: Reserved for this bench; the demo's own seeds begin at 7001.
FIRST_SEED = 7101
#: Shares of found incidents.
ASKED = {"place": 0.9, "object": 0.8}
NORMAL_95 = 1.96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="demos, with two cameras each")
    parser.add_argument("--seconds", type=float, default=66.0, help="length of each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("expected at least 1 run")
    load_before = os.getloadavg()[0]
    summaries = []
    for number in range(options.runs):
        print(f"demo {number + 1} of {options.runs}", file=sys.stderr)
        summaries.append(demo(FIRST_SEED + 2 * number, options.seconds))
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "seeds": [FIRST_SEED + number for number in range(2 * options.runs)],
        "seconds": options.seconds,
        **figures(summaries),
    }
    record(options.results, "places_alerts", results, page(results))
    print(page(results), end="")


def demo(seed: int, seconds: float) -> dict[str, Any]:
    """Run a demo with two cameras; return its summary."""
    with tempfile.TemporaryDirectory(prefix="mistwatch-bench-") as folder:
        command = [sys.executable, "-P", "-m", "pipeline.cli", "demo", "--json", "--out", folder]
        done = subprocess.run(
            [*command, "--seed", str(seed), "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True, check=True
        )
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def figures(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the shares of each detector, over all runs."""
    detectors = list(summaries[0]["detectors"])
    return {
        "asked": ASKED,
        "dropped": sum(summary["clips_dropped"] for summary in summaries),
        "scored": sum(summary["clips_scored"] for summary in summaries),
        "detectors": {
            detector: counted([summary["detectors"][detector]["places"] for summary in summaries])
            for detector in detectors
        },
    }


def counted(parts: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """Return the number of alerts, and for place and object the right ones, their share and its interval."""
    alerts = sum(part["alerts"] for part in parts)
    found: dict[str, Any] = {"alerts": alerts}
    for name in ASKED:
        right = sum(part[name] for part in parts)
        share = right / alerts if alerts else None
        found[name] = {"right": right, "share": share, "interval_95": wilson(right, alerts)}
    return found


def wilson(right: int, number: int) -> tuple[float, float] | None:
    """Return Wilson's interval of a share at 95 % (E. B. Wilson 1927); None of nothing."""
    if not number:
        return None
    share, z = right / number, NORMAL_95
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return max(0.0, middle - half), min(1.0, middle + half)


def page(results: Mapping[str, Any]) -> str:
    """Write the results as Markdown."""
    before, after = results["load_average"].values()
    lines = [
        "# Places and things of the demo's alerts",
        "",
        f"{len(results['seeds']) // 2} demos of {results['seconds']:g} s with two cameras each, seeds "
        f"{results['seeds'][0]} to {results['seeds'][-1]}, load average {before:g} before and {after:g} after; "
        f"{results['dropped']} of {results['dropped'] + results['scored']} clips were dropped. Counted are alerts "
        "about an incident. The intervals are Wilson's.",
        "",
        "| detector | alerts | place right | thing right |",
        "|---|--:|--:|--:|",
    ]
    for detector, found in results["detectors"].items():
        cells = [words(found[name]) for name in ASKED]
        lines.append(f"| `{detector}` | {found['alerts']} | {cells[0]} | {cells[1]} |")
    asked = results["asked"]
    lines += ["", f"Asked: place {asked['place']:.0%}, thing {asked['object']:.0%} of found incidents."]
    return "\n".join(lines) + "\n"


def words(part: Mapping[str, Any]) -> str:
    """Return a share with its interval."""
    if part["share"] is None:
        return "–"
    low, high = part["interval_95"]
    return f"{part['share']:.0%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
