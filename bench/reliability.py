"""Run the whole fault suite and write its table into docs/RELIABILITY.md.

    python bench/reliability.py --run     # `make faults`: half an hour and more of a quiet machine
    python bench/reliability.py --again   # only what failed in the run before; its rows join those of that run
    python bench/reliability.py           # the page from the committed results

The rows are JSON lines in bench/results/reliability/faults.jsonl, one of each test of tests/faults/. A run replaces
them where all of these tests have passed: a missing part fails, and a selection of tests leaves the table as it is.
The soak (bench/soak.py) has a file of its own beside it, and so has the failover (bench/failover.py). The part of the
page between the two marks is generated, and tests/bench/test_reliability_page.py compares it with the files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "RELIABILITY.md"
FAULTS = ROOT / "bench" / "results" / "reliability" / "faults.jsonl"
SOAK = ROOT / "bench" / "results" / "reliability" / "soak.json"
FAILOVER = ROOT / "bench" / "results" / "failover.md"
WHOLE = "These rows are of the whole form."
SHORT = (
    "These rows are **not of the whole form**: each worker was killed 10 times in place of 300, each camera failed\n"
    "once in place of five times, 12 cameras flapped in place of 64, and the faults that take longest are missing."
)
SUITE = [sys.executable, "-m", "pytest", "tests/faults", "-m", "faults"]
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def table(rows: list[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| fault | promise | accepted | arrived | duplicates | recovery | further counts |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        recovery = "–" if row["recovery_seconds"] is None else f"{row['recovery_seconds']:.1f} s"
        numbers = ["–" if row[key] is None else str(row[key]) for key in ("accepted", "arrived", "duplicates")]
        lines.append("| " + " | ".join([row["fault"], row["promise"], *numbers, recovery, row["note"] or "–"]) + " |")
    return "\n".join(lines)


def soak_lines(soak: Mapping[str, Any] | None) -> str:
    """Return the figures of the newest soak of each kind as Markdown."""
    if soak is None:
        return "No soak has been committed yet."
    columns = [
        "soak",
        "hours",
        "cameras",
        "lowest memory of a minute, early and late",
        "of which the worker itself",
        "highest memory",
    ]
    head = "| " + " | ".join([*columns, "descriptors", "threads", "CPU", "events", "outbox"]) + " |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, run in soak.items():
        memory, own = run["memory_mb"], run["worker_mb"]
        counts = [
            f"{memory['early']:.0f} MB, {memory['late']:.0f} MB ({run['mb_a_camera']:.1f} MB a camera)",
            f"{own['early']:.0f} MB, {own['late']:.0f} MB",
            f"{run['memory_most_mb']:.0f} MB",
            f"{run['descriptors']['early']:.0f}, {run['descriptors']['late']:.0f}",
            f"{run['threads']['early']:.0f}, {run['threads']['late']:.0f}",
            f"{run['cpu_cores']:.2f} cores ({run['cpu_cores'] / run['cameras'] * 100:.1f} % of one a camera)",
            f"{run['accepted']} accepted, {run['arrived']} arrived",
            f"{run['outbox']['most']:.0f} at most",
        ]
        lines.append("| " + " | ".join([name, f"{run['hours']:.2f}", str(run["cameras"]), *counts]) + " |")
    return "\n".join(lines)


def generated() -> str:
    """Return the generated part of the page, from the committed files."""
    rows = [json.loads(line) for line in FAULTS.read_text(encoding="utf-8").splitlines()]
    soak = json.loads(SOAK.read_text(encoding="utf-8")) if SOAK.exists() else None
    form = WHOLE if any("300 ×" in row["fault"] for row in rows) else SHORT
    failover = FAILOVER.read_text(encoding="utf-8").partition("\n\n")[2].strip()  # without its heading
    parts = [BEGIN, form, table(rows), "### Failover of a group", failover, "### The soak", soak_lines(soak), END]
    return "\n\n".join(parts)


def write_page() -> None:
    """Replace the generated part of the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(head + generated() + rest.partition(END)[2], encoding="utf-8")


def run(arguments: list[str], *, again: bool = False) -> int:
    """Run the suite; the results replace the committed ones where all of it passes.

    Args:
        arguments: of pytest.
        again: run only the tests that failed in the run before, and keep the rows of the others.

    Returns pytest's status; 1 also where tests were skipped without a selection.
    """
    fresh = FAULTS.with_suffix(".new")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    if again:
        arguments = ["--last-failed", "--last-failed-no-failures", "none", *arguments]
    else:
        fresh.unlink(missing_ok=True)
    fresh.touch()
    environment = os.environ | {
        "MISTWATCH_FAULTS": "whole",
        "MISTWATCH_FAULTS_RESULTS": str(fresh),
        "MISTWATCH_REQUIRE_REALPARTS": "1",
    }
    status = subprocess.run([*SUITE, "-v", *arguments], cwd=ROOT, env=environment, check=False).returncode
    if (objection := why_not(status, fresh, tests_of_the_suite())) is None:
        fresh.replace(FAULTS)
        write_page()
        return 0
    print(f"{objection}: the committed table stays as it is, and the new rows are in {fresh}")
    return status or int(not arguments)


def why_not(status: int, fresh: Path, tests: int) -> str | None:
    """Return why the rows of a run cannot replace the committed ones; None where they can.

    Args:
        status: pytest's.
        fresh: the rows.
        tests: how many tests the suite has; each leaves a row when it passes.
    """
    if status != 0:
        return "not every promise was kept"
    rows = len(fresh.read_text(encoding="utf-8").splitlines())
    return None if rows == tests else f"{rows} of {tests} tests left a row, the others were skipped or not selected"


def tests_of_the_suite() -> int:
    """Count the tests of the fault suite, whatever is selected of them."""
    found = subprocess.run([*SUITE, "--collect-only", "-q"], cwd=ROOT, capture_output=True, text=True, check=True)
    return sum("::" in line for line in found.stdout.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the suite first")
    parser.add_argument("--again", action="store_true", help="run only what failed in the run before")
    options, arguments = parser.parse_known_args()
    if options.run or options.again:
        sys.exit(run(arguments, again=options.again))
    write_page()


if __name__ == "__main__":
    main()
