"""Measure the memory of alerts: a new alert among many, reading alerts from the topic, and a restart.

    python bench/alert_history.py [--alerts 20000] [--groups 100] [--new 500]

writes bench/results/alert_history.json and .md. Embeddings of 128 values lie around as many directions as there are
groups. Times are those of the processor, so that other load on the machine does not count; no step waits for a disk.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import numpy.typing as npt
from recorded import record

from operators.alerting import AlertState, AlertTransition
from operators.grouping import Embedding
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.history import AlertHistory, HistoryLimits
from pipeline.alerts.judgement import judgement_event
from pipeline.alerts.likeness import GroupSeen, Likeness, embedding_text

RESULTS = Path(__file__).resolve().parent / "results"
SITE, VERSION, SIMILARITY = "bench", "made", 0.8
VALUES = 128
#: Judgements in force, each with as many exemplars as it may have.
JUDGEMENTS = 20


def embeddings(count: int, groups: int) -> tuple[Embedding, npt.NDArray[np.int64]]:
    """Return points around ``groups`` random directions, (count, 128), of length 1, and the direction of each."""
    drawn = np.random.default_rng(0)
    centres = drawn.standard_normal((groups, VALUES))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    directions = drawn.integers(groups, size=count)
    points = centres[directions] + 0.03 * drawn.standard_normal((count, VALUES))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), directions


def plain_event(started_at: datetime) -> AlertEvent:
    """Return the begin of an alert."""
    times = ClipTimes(started_at, started_at, started_at, started_at)
    clip = ClipScore("gate", "segment", 0, 0.0, 0.64, 0.75, "m", "1", times)
    peak = SmoothedScore(clip, 0.75)
    step = AlertTransition(AlertState.BEGIN, "gate", "segment", 0, clip, clip, peak, 0.6, (peak,), None)
    return event_from(step, site=SITE, run="", evidence=[])


def event_of(plain: AlertEvent, number: int, embedding: Embedding, direction: int) -> AlertEvent:
    """Return another alert's event, as another worker has enriched it; each direction is a group."""
    identity = UUID(int=number)
    group = GroupSeen(
        id=UUID(int=2**64 + direction),
        size=1,
        first_at=None,
        last_day=0,
        judgement=None,
        similarity=SIMILARITY,
        mute_similarity=SIMILARITY,
    )
    likeness = Likeness(embedding_version=VERSION, embedding=embedding_text(embedding), group=group, similar=())
    return plain.model_copy(update={"data": plain.data.model_copy(update={"alert_id": identity, "likeness": likeness})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=20_000)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--new", type=int, default=500)
    arguments = parser.parse_args()
    now = datetime.now(UTC)
    points, directions = embeddings(arguments.alerts + arguments.new, arguments.groups)
    known, new = points[: arguments.alerts], points[arguments.alerts :]

    def opened(file: Path) -> AlertHistory:
        return AlertHistory(
            file,
            site=SITE,
            embedding_version=VERSION,
            similarity=SIMILARITY,
            limits=HistoryLimits(alerts=arguments.alerts),
        )

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.sqlite"
        plain = plain_event(now)
        events = [event_of(plain, number, known[number], int(directions[number])) for number in range(len(known))]
        with closing(opened(file)) as history:
            for number in range(JUDGEMENTS):
                history.take(
                    judgement_event(
                        site=SITE,
                        target=UUID(int=number),
                        camera=None,
                        verdict="normal" if number % 2 else "real",
                        judged_at=now,
                        expires_at=None,
                        similarity=SIMILARITY,
                        embedding_version=VERSION,
                        exemplars=list(known[16 * number : 16 * number + 16]),
                    )
                )
            began = time.thread_time()
            history.take_all(events)
            reading = 1000 * (time.thread_time() - began) / len(events)
            groups = len(history.groups())
            times = []
            for number, embedding in enumerate(new, start=arguments.alerts):
                began = time.thread_time()
                history.consider(UUID(int=number), embedding, "gate", now)
                times.append(1000 * (time.thread_time() - began))
        began = time.thread_time()
        opened(file).close()
        restart = time.thread_time() - began
        size = file.stat().st_size
    results = {
        "alerts": arguments.alerts,
        "groups": groups,
        "judgements": JUDGEMENTS,
        "consider_ms": {
            "median": round(float(np.median(times)), 2),
            "p99": round(float(np.quantile(times, 0.99)), 2),
        },
        "read_ms_an_alert": round(reading, 3),
        "restart_seconds": round(restart, 2),
        "file_mb": round(size / 1e6, 1),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]},
    }
    record(RESULTS, "alert_history", results, page(results))
    print(page(results))


def page(results: dict) -> str:  # type: ignore[type-arg]
    """Return the results as Markdown."""
    consider, machine = results["consider_ms"], results["machine"]
    rows = [
        ("a new alert, median", f"{consider['median']} ms"),
        ("a new alert, 99 % of them", f"{consider['p99']} ms"),
        ("an alert that is read from the topic", f"{results['read_ms_an_alert']} ms"),
        ("a restart", f"{results['restart_seconds']} s"),
        ("the file", f"{results['file_mb']} MB"),
    ]
    return "\n".join(
        [
            "# The memory of alerts",
            "",
            f"`python bench/alert_history.py`: {results['alerts']:,} alerts of 128 values in {results['groups']} "
            f"groups, {results['judgements']} judgements of 16 exemplars. Processor times, with a load average of "
            f"{machine['load_average']:.1f} on {machine['cores']} cores.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
