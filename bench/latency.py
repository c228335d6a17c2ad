"""Measure the way of alerts from an incident's first frame to the consumer, stage by stage, at a given load.

    python bench/latency.py [--model courtyard] [--load 0.8] [--seconds 240]

Everything is real: rendered courtyards play as RTSP cameras, a service watches them with an embedded Triton and broker,
and ``mistwatch alerts tail`` is the consumer. Two cameras run first. Their processor time, of all processes together,
gives the number of cameras at which the processors would be busy all the time: the capacity. ``--load`` of that is
seldom a whole number: the next one runs, with fewer clips of each camera (a larger stride), in four phases, so that
their clips do not all end at once. Appends to bench/results/performance/latency.jsonl.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tritonclient.grpc as triton
from addition_cost import FPS, SPARE_SECONDS, warm_up
from alternately import append
from courtyard import COOLDOWN_SECONDS
from processor_time import tree_seconds
from rich.console import Console

from deploy.broker.server import BrokerServer
from deploy.camera.server import CameraServer
from deploy.errors import DeployError
from deploy.triton.server import TritonServer
from models.card import read_card
from models.serving.export import find_model
from pipeline import logs
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.reading import Event
from pipeline.cli.demo.consumer import Consumer
from pipeline.cli.demo.truth import Witness
from pipeline.cli.repository import serving_together
from pipeline.courtyard.renderer import render_films
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings
from pipeline.errors import MistwatchError
from pipeline.live.listener import Watch
from pipeline.live.metrics import Metrics, Stage
from pipeline.live.service import Service
from pipeline.settings import site_from_options

#: Reserved for this bench.
FIRST_SEED = 23201
#: Different films; further cameras show them again.
FILMS = 2
#: Servers of cameras, each with its own beginning.
PHASES = 4
PILOT_CAMERAS, PILOT_SECONDS = 2, 15.0
#: After a run, for the last events to arrive.
GRACE_SECONDS = 3.0
#: The last stage, which the worker cannot see: from the broker's acknowledgement to the consumer's hands.
CONSUMER = "consumer"


@dataclass
class Seen:
    """Everything that one run has shown, seconds. Its methods are called on several threads."""

    stages: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in [*Stage, CONSUMER]})
    clip_to_consumer: list[float] = field(default_factory=list)
    incident_to_consumer: list[float] = field(default_factory=list)
    witnesses: dict[str, Witness] = field(default_factory=dict)  #: of the run that is being watched
    _published: dict[str, datetime] = field(default_factory=dict)

    def stage(self, _metrics: Metrics, stage: Stage, _watch: Watch, seconds: float) -> None:
        """Take the place of :meth:`Metrics.observe_stage`."""
        self.stages[stage].append(seconds)

    def published(self, event: Event) -> None:
        """Note that the broker has acknowledged an event."""
        self._published[event.id] = datetime.now(UTC)

    def consumed(self, event: AlertEvent, arrived_at: datetime) -> None:
        """Take an event from the consumer."""
        if (witness := self.witnesses.get(event.subject)) is None:
            return
        if event.data.captured_at is not None and event.data.scores:
            self.clip_to_consumer.append((arrived_at - event.data.captured_at).total_seconds())
        if (acknowledged := self._published.get(event.id)) is not None:
            self.stages[CONSUMER].append(max(0.0, (arrived_at - acknowledged).total_seconds()))
        verdict = witness.add_event(event, arrived_at)
        if verdict is not None and verdict.delay_seconds is not None:
            self.incident_to_consumer.append(verdict.delay_seconds)


@dataclass(frozen=True)
class Run:
    """The totals of one run: cameras, frames between two clips of each, clips, and the processor seconds of a second of
    all processes together."""

    cameras: int
    stride: int
    clips: int
    dropped: int
    alerts: int
    processors: float
    triton: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="courtyard")
    parser.add_argument("--load", type=float, default=0.8, help="share of the capacity")
    parser.add_argument("--seconds", type=float, default=240.0, help="measured time; an event comes every 3 s")
    parser.add_argument("--cameras", type=int, help="number of cameras, instead of a share of the capacity")
    options = parser.parse_args()
    if not 0 < options.load < 1 or not options.seconds >= 10:
        parser.error("expected a load between 0 and 1, and at least 10 seconds")
    logs.configure("auto", "warning")
    console = Console(stderr=True)
    try:
        results = measured(options.model, options.load, options.seconds, options.cameras, console)
    except (DeployError, MistwatchError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    append("latency", results)
    print(page(results), end="")


def measured(model: str, load: float, seconds: float, cameras: int | None, console: Console) -> dict[str, Any]:
    """Run both times, and return the results.

    Args:
        cameras: None: find the number of cameras by a first run.
    """
    cores = len(os.sched_getaffinity(0))
    stride = read_card(find_model(model)).clip.stride
    with tempfile.TemporaryDirectory(prefix="mistwatch-bench-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        length = max(seconds, PILOT_SECONDS) + SPARE_SECONDS
        scenes = {
            folder / f"film-{number}.mp4": SceneSettings(seed=FIRST_SEED + number, fps=FPS, seconds=length)
            for number in range(FILMS)
        }
        console.print("rendering")
        render_films(scenes, lambda _done, _of: None)
        incidents = {film: Courtyard(settings).incidents for film, settings in scenes.items()}
        server = stack.enter_context(TritonServer(stack.enter_context(serving_together({model: model}))))
        broker = stack.enter_context(BrokerServer(folder / "broker"))
        seen = Seen()
        stack.enter_context(Consumer(broker.bootstrap, lambda event, at: seen.consumed(event, at), folder / "tail.log"))
        watch = partial(watched, model, server.grpc_address, broker.bootstrap, incidents)
        pilot = None
        if cameras is None:
            console.print(f"{PILOT_CAMERAS} cameras, {PILOT_SECONDS:g} s")
            pilot = watch(seen, folder / "pilot", PILOT_CAMERAS, PILOT_SECONDS, stride)
            wanted = load * cores * PILOT_CAMERAS / pilot.processors
            cameras = math.ceil(wanted)
            stride = round(stride * cameras / wanted)
        console.print(f"{cameras} cameras, a clip every {stride} frames, {seconds:g} s")
        seen = Seen()
        run = watch(seen, folder / "run", cameras, seconds, stride)
    return {
        "model": model,
        "seconds": seconds,
        "cameras": cameras,
        "stride": stride,
        "capacity_cameras": None if pilot is None else round(cores * PILOT_CAMERAS / pilot.processors, 1),
        "busy_share": round(run.processors / cores, 3),
        "clips": run.clips,
        "dropped": run.dropped,
        "alerts": run.alerts,
        "clip_to_consumer_seconds": spread(seen.clip_to_consumer),
        "incident_to_consumer_seconds": spread(seen.incident_to_consumer),
        "stages": {stage: spread(values) for stage, values in seen.stages.items()},
        "triton": dict(run.triton),
    }


def watched(
    model: str,
    address: str,
    bootstrap: str,
    incidents: Mapping[Path, Sequence[Any]],
    seen: Seen,
    folder: Path,
    cameras: int,
    seconds: float,
    stride: int,
) -> Run:
    """Watch so many cameras.

    Raises:
        DeployError: the cameras do not start.
        MistwatchError: the site does not start, or no clips come.
    """
    films = list(incidents)
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        for phase in range(min(PHASES, cameras)):
            shown = {f"camera-{number}": films[number % len(films)] for number in range(phase, cameras, PHASES)}
            server = stack.enter_context(CameraServer(shown))
            urls |= {name: server.url(name) for name in shown}
            seen.witnesses |= {
                name: Witness(incidents[film], fps=FPS, sent=partial(server.sent, name)) for name, film in shown.items()
            }
        site = site_from_options(
            {
                "site": "bench",
                "state_dir": folder,
                "triton": {"address": address, "model": model},
                "kafka": {"bootstrap": bootstrap},
                "alerts": {"cooldown_seconds": COOLDOWN_SECONDS},
                "gate": "off",
                "clip": {"stride": stride},
                "cameras": {name: {"source": url} for name, url in urls.items()},
            }
        )
        service = Service(site, published=lambda event: seen.published(event))
        try:
            service.prepare(threading.Event(), patient=False)
            service.start()
            warm_up(service)
            stack.enter_context(patch.object(Metrics, "observe_stage", lambda *values: seen.stage(*values)))
            for values in (*seen.stages.values(), seen.clip_to_consumer, seen.incident_to_consumer):
                values.clear()  # the first clips open connections and allocate
            before, counted, began, spent = (
                service.summary,
                statistics_of(address, model),
                time.monotonic(),
                tree_seconds(),
            )
            time.sleep(seconds)
            after, took, used = service.summary, time.monotonic() - began, tree_seconds() - spent
            inside = difference(counted, statistics_of(address, model))
            time.sleep(GRACE_SECONDS)
        finally:
            service.close()
    return Run(
        cameras,
        stride,
        after.clips_scored - before.clips_scored,
        after.clips_dropped - before.clips_dropped,
        after.alerts - before.alerts,
        used / took,
        inside,
    )


def statistics_of(address: str, model: str) -> dict[str, float]:
    """Return the sums that Triton has counted of a model: requests, executions, and nanoseconds by stage."""
    with triton.InferenceServerClient(address) as client:
        (found,) = client.get_inference_statistics(model).model_stats
    inside = found.inference_stats
    stages = {name: getattr(inside, name).ns for name in ("queue", "compute_input", "compute_infer", "compute_output")}
    return {"requests": inside.success.count, "executions": found.execution_count, **stages}


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the means between two counts: milliseconds a request by stage, and requests in a batch."""
    of = {name: after[name] - before[name] for name in before}
    requests = max(of.pop("requests"), 1)
    batch = requests / max(of.pop("executions"), 1)
    return {"batch": round(batch, 2), **{f"{name}_ms": round(ns / 1e6 / requests, 2) for name, ns in of.items()}}


def spread(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return the median and the 95th percentile, seconds, and the number of values; None of no values."""
    if not seconds:
        return None
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return {"median": round(statistics.median(seconds), 4), "p95": round(p95, 4), "count": len(seconds)}


def page(results: Mapping[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    capacity = results["capacity_cameras"]
    of = "" if capacity is None else f" of {capacity:g} that would keep the processors busy all the time"
    rows = {
        **results["stages"],
        "clip's last frame → consumer": results["clip_to_consumer_seconds"],
        "incident's first frame → consumer": results["incident_to_consumer_seconds"],
    }
    inside = results["triton"]
    lines = [
        f"{results['cameras']} cameras{of}, a clip every {results['stride']} frames; "
        f"processors busy for {results['busy_share']:.0%} of the time, "
        f"{results['clips']} clips scored and {results['dropped']} dropped, {results['alerts']} alerts.",
        "",
        "| stage | median, s | 95th percentile, s | of |",
        "|---|--:|--:|--:|",
    ]
    for name, one in rows.items():
        lines.append(
            f"| {name} | | | 0 |"
            if one is None
            else f"| {name} | {one['median']:.3f} | {one['p95']:.3f} | {one['count']} |"
        )
    lines += [
        "",
        f"Inside Triton, means: {inside['queue_ms']:.1f} ms in its queue, {inside['compute_infer_ms']:.1f} ms "
        f"computing, {inside['batch']:.2f} clips in a batch. The embedded broker does not hold a fetch until an event "
        "comes, so that the consumer pauses between fetches (`pipeline/sinks/paced_client.py`); others need no pause.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
