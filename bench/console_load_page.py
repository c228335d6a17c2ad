"""Write the section of docs/OPERATIONS.md on the console under load from the committed figures.

    python bench/console_load_page.py

bench/console_load.py measures them, and writes the section at its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "console_load.json"
PAGE = ROOT / "docs" / "OPERATIONS.md"
BEGIN, END = "<!-- console load: begin -->", "<!-- console load: end -->"
#: Longest line of the page.
_WIDTH = 126


def section(found: Mapping[str, Any]) -> str:
    """Return the section as Markdown."""
    memory, updates, stuck = found["memory"], found["updates"], found["stuck"]
    missing = updates["begins_missing"] + updates["ends_missing"] + (updates["missing_in_chromium"] or 0)
    paragraph = (
        f"`python bench/console_load.py` has loaded a console for {found['minutes']:.0f} minutes: "
        f"{found['cameras']} cameras at their real pace ({found['records']:,} records), "
        f"{found['alerts_of_history']:,} alerts of history and {updates['alerts']:,} new ones, {updates['browsers']} "
        f"browsers at once, one of them Chromium. The console took {found['console_cores']:.2f} cores."
    )
    points = [
        f"Memory (private and shared anonymous): {memory['early_mb']:.0f} MB early, {memory['late_mb']:.0f} MB late, "
        f"at most {memory['most_mb']:.0f} MB. The rows of the new scores are "
        f"{memory['kept_mb']:.0f} MB of the growth.",
        f"Updates: {updates['updates']:,} in all, to browsers whose connections broke {updates['breaks']} times. By "
        f"their numbers {updates['gaps']} were lost and {updates['repeated']} came twice. Of the begins and ends of "
        f"new alerts, {missing} are missing. An alert took {updates['delay_median']:.1f} s from topic to browser "
        f"({updates['delay_p95']:.1f} s at the 95th percentile, on a machine with other work).",
        f"A browser that reads nothing: {stuck['ended']} of {stuck['streams']} streams were ended, with "
        f"{stuck['lines']} lines of the log.",
    ]
    lines = [
        fill(paragraph, _WIDTH),
        "",
        *(fill(point, _WIDTH, initial_indent="* ", subsequent_indent="  ") for point in points),
        "",
        "| answer | median, ms | times an empty page, median | 90th percentile |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one['ms']:.1f} | {one['times']:.1f} | {one['p90']:.1f} |" for name, one in found["pages"].items()
    ]
    return "\n".join(lines)


def generated() -> str:
    """Return the generated part of the page, from the committed figures."""
    if not RESULTS.exists():
        return f"{BEGIN}\nNo load test has been committed yet: run `python bench/console_load.py`.\n{END}"
    return f"{BEGIN}\n{section(json.loads(RESULTS.read_text(encoding='utf-8')))}\n{END}"


def write() -> None:
    """Replace the generated part of the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(head + generated() + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    write()
