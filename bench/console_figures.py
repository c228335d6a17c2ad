"""The figures of the console's load test, and their judgement; for bench/console_load.py."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from statistics import mean, median, quantiles
from typing import Any

from console_browsers import Listened
from console_feed import Feed
from console_process import Looks

from pipeline.console.scores import MOST_SCORES, ROW

#: Scores of each camera of the feed.
CLIPS_A_SECOND = 1.5
#: A page may take at most this multiple of the time of an empty one.
MOST_TIMES = 20.0
#: Growth that passes, as a share of the early value, beside the rows of new scores.
GROWTH = 0.10
#: The early and the late memory are means over these shares of the run.
_EARLY, _LATE = (0.05, 0.20), (0.85, 1.0)
#: Alerts count from this time after the browsers' begin, and to this time before their end, seconds.
EDGE_SECONDS = 3.0


def memory(looks: Looks, feed: Feed, options: argparse.Namespace) -> dict[str, Any]:
    """Return the early and late memory, and the rows of the scores that came in between, MB."""
    span = looks.samples[-1][0]

    def average(share: tuple[float, float]) -> float:
        chosen = [mb for minutes, mb in looks.samples if share[0] * span <= minutes <= share[1] * span]
        return mean(chosen or [looks.samples[-1][1]])

    minutes = span * (mean(_LATE) - mean(_EARLY))
    clips = min(MOST_SCORES, 60 * minutes * CLIPS_A_SECOND) * options.cameras
    kept = clips * ROW.itemsize / 1e6
    return {
        "early_mb": round(average(_EARLY), 1),
        "late_mb": round(average(_LATE), 1),
        "most_mb": round(looks.most, 1),
        "kept_mb": round(kept, 1),
        "samples": looks.samples,
    }


def pages(timings: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return of each page the median time, ms, and the ratio to the empty page of the same round: median and p90."""
    empty = timings["empty page"]
    found = {}
    for name, taken in timings.items():
        ratios = [one / other for one, other in zip(taken, empty, strict=True)]
        tenths = quantiles(ratios, n=10, method="inclusive")
        found[name] = {
            "ms": round(1000 * median(taken), 2),
            "times": round(median(ratios), 2),
            "p90": round(tenths[-1], 2),
        }
    return found


def updates(listened: Listened, feed: Feed) -> dict[str, Any]:
    """Return the counts of updates and alerts of all browsers, and the delays of alerts, seconds."""
    from_, to = listened.began + EDGE_SECONDS, listened.finished - EDGE_SECONDS
    begun, ended = (
        {identity for identity, at in published.items() if from_ <= at <= to}
        for published in (feed.ledger.begun, feed.ledger.ended)
    )
    seen = listened.seen
    delays = sorted(one.begun[each] - feed.ledger.begun[each] for one in seen for each in begun & set(one.begun))
    page = listened.page
    return {
        "browsers": len(seen) + (page is not None),
        "updates": sum(one.updates for one in seen),
        "gaps": sum(one.gaps for one in seen),
        "repeated": sum(one.repeated for one in seen),
        "resyncs": sum(one.resyncs for one in seen),
        "breaks": sum(one.breaks for one in seen),
        "pictures": sum(one.pictures for one in seen),
        "alerts": len(begun),
        "begins_missing": sum(len(begun - set(one.begun)) for one in seen),
        "ends_missing": sum(len(ended - set(one.ended)) for one in seen),
        "missing_in_chromium": None if page is None else len(begun - page[0]) + len(ended - page[1]),
        "delay_median": round(median(delays), 2),
        "delay_p95": round(delays[int(0.95 * (len(delays) - 1))], 2),
        "delay_most": round(delays[-1], 2),
        "problems": listened.problems,
    }


def objections(found: Mapping[str, Any]) -> list[str]:
    """Return what does not hold, a line each."""
    problems = []
    memory, updates, stuck = found["memory"], found["updates"], found["stuck"]
    if memory["late_mb"] > memory["early_mb"] * (1 + GROWTH) + memory["kept_mb"]:
        problems.append(f"memory grew from {memory['early_mb']} to {memory['late_mb']} MB")
    for name, page in found["pages"].items():
        if page["times"] > MOST_TIMES:
            problems.append(f"{name}: {page['times']} times an empty page; expected at most {MOST_TIMES:g}")
    problems += [
        f"updates: {name} {updates[name]}; expected none"
        for name in ("gaps", "repeated", "resyncs", "begins_missing", "ends_missing", "missing_in_chromium", "problems")
        if updates[name]
    ]
    if not updates["alerts"]:
        problems.append("updates: no alert was published while the browsers listened")
    if stuck["ended"] != stuck["streams"] or stuck["lines"] != stuck["streams"]:
        problems.append(f"a browser that reads nothing: {stuck}; expected one line and one end for each stream")
    if found["tracebacks"] or found["status"]:
        problems.append(f"the console: {found['tracebacks']} tracebacks, status {found['status']}")
    return problems
