"""Measure the cost of likeness, or of places, at live cameras: processor time, and the time that alerts are held back.

    python bench/addition_cost.py --of likeness|place [--cameras 2] [--seconds 40] [--pairs 3]

writes bench/results/alike_cost.json and .md, or place_cost. Rendered courtyards play as live cameras, as in the demo. A
site watches them with an embedded Triton and broker, with and without the addition, alternately. Counted is the
processor time of this process, which is the worker, and of Triton with its stubs, for each scored clip. The time of the
second model's stub is also counted by itself, because a pair of runs differs by more than that on a busy machine. Run
it at normal priority: the time for which alerts are held back depends on when the worker may run.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tritonclient.grpc as triton
from courtyard import COOLDOWN_SECONDS
from recorded import record
from rich.console import Console

import pipeline.live.worker
from deploy.broker.server import BrokerServer
from deploy.camera.server import CameraServer
from deploy.errors import DeployError
from deploy.triton.server import TritonServer
from pipeline import logs
from pipeline.alerts.enrich import Enricher, Outcome
from pipeline.alerts.event import AlertEvent
from pipeline.cli.repository import serving_together
from pipeline.courtyard.renderer import render_films
from pipeline.courtyard.settings import SceneSettings
from pipeline.errors import MistwatchError
from pipeline.live.service import Service
from pipeline.settings import Site, site_from_options

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Kind:
    """An addition to alerts.

    Attributes:
        results: name of the result files.
        model: the detector that watches: for places one with HEAT.
        section: of the site's settings, which names the second model.
        second: that model, and the name under which it is served.
        stub: what its process computes, in words.
        remark: on the runs, for the page.
    """

    results: str
    model: str
    section: str
    second: str
    served: str
    stub: str
    remark: str


KINDS = {
    "likeness": Kind(
        "alike_cost",
        "courtyard",
        "likeness",
        "alike-courtyard",
        "alike",
        "embedding",
        " The memory of alerts is nearly empty in these runs; bench/alert_history.py measures a full one.",
    ),
    "place": Kind("place_cost", "courtyard-motion", "places", "places-courtyard", "places", "model of places", ""),
}

#: Reserved for this bench.
FIRST_SEED = 23101
#: The model's own frame rate.
FPS = 12.5
#: Films are this much longer than a run, so that they do not start again.
SPARE_SECONDS = 30.0
#: Clips of each camera before the measurement begins: connections, first allocations and imports are over.
WARM_UP_CLIPS = 4
WARM_UP_SECONDS = 60.0
ASKED = {"share": 0.05, "held_ms": 100.0}


@dataclass(frozen=True)
class Run:
    """One run's figures.

    Attributes:
        clips, dropped, alerts: numbers within the measured time.
        worker, server: processor seconds.
        second: those of the server's that the second model's stub took.
    """

    clips: int
    dropped: int
    alerts: int
    worker: float
    server: float
    second: float

    @property
    def ms_a_clip(self) -> float:
        """Processor milliseconds of a clip, of the worker and the server together."""
        return 1000 * (self.worker + self.server) / self.clips


@dataclass(frozen=True)
class Pair:
    """A run without the addition and one with it, next to each other."""

    without: Run
    with_it: Run

    @property
    def share(self) -> float:
        """Return the additional processor time of a clip, relative to that without the addition."""
        return self.with_it.ms_a_clip / self.without.ms_a_clip - 1

    @property
    def share_by_parts(self) -> float:
        """Return the additional time of the worker and that of the second model's stub, relative to all without them.

        Leaves out the detector's stub, whose time varies by more than the addition costs.
        """
        worker, before = self.with_it.worker, self.without.worker
        added = (worker + self.with_it.second) / self.with_it.clips - before / self.without.clips
        return 1000 * added / self.without.ms_a_clip


class TimedEnricher(Enricher):
    """An enricher that notes the seconds for which each event was held back.

    Args:
        seconds: receives them.
    """

    def __init__(self, seconds: list[float], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._seconds = seconds
        self._since: deque[float] = deque()  # of the events that are held back, in order

    def take(self, events: list[AlertEvent]) -> list[AlertEvent]:
        self._since.extend([time.monotonic()] * len(events))
        return super().take(events)

    def ready(self) -> list[AlertEvent]:
        ready = super().ready()
        for _ in ready[: len(self._since)]:  # a late update comes after them, and was never held back
            self._seconds.append(time.monotonic() - self._since.popleft())
        return ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=KINDS, default="likeness", help="the addition")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0, help="measured time of each run")
    parser.add_argument("--pairs", type=int, default=3, help="runs without and with it")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    if min(options.cameras, options.pairs) < 1 or not options.seconds >= 10:
        parser.error("expected at least 1 camera, 1 pair and 10 seconds")
    logs.configure("auto", "warning")
    kind = KINDS[options.of]
    console = Console(stderr=True)
    held: list[float] = []
    outcomes: Counter[str] = Counter()
    pairs = []
    load_before = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory(prefix="mistwatch-bench-") as scratch:
            films = rendered(Path(scratch, "films"), options.cameras, options.seconds)
            for number in range(options.pairs):
                order = (False, True) if number % 2 == 0 else (True, False)
                runs = {}
                for added in order:
                    console.print(
                        f"pair {number + 1} of {options.pairs}, {'with' if added else 'without'} {options.of}"
                    )
                    folder = Path(scratch, f"{number}-{added}")
                    runs[added] = watched(films, folder, options.seconds, held, outcomes, kind, added=added)
                pairs.append(Pair(runs[False], runs[True]))
    except (DeployError, MistwatchError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "versions": {name: version(name) for name in ("nvidia-pytriton", "openvino", "tritonclient")},
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "of": options.of,
        "models": [kind.model, kind.second],
        "cameras": options.cameras,
        "seconds": options.seconds,
        **figures(pairs, held, outcomes),
    }
    record(options.results, kind.results, results, page(results))
    print(page(results), end="")


def rendered(folder: Path, cameras: int, seconds: float) -> dict[str, Path]:
    """Render the cameras' films; return them by the cameras' names."""
    folder.mkdir(parents=True)
    length = seconds + SPARE_SECONDS
    scenes = {
        folder / f"courtyard-{number + 1}.mp4": SceneSettings(seed=FIRST_SEED + number, fps=FPS, seconds=length)
        for number in range(cameras)
    }
    render_films(scenes, lambda _done, _of: None)
    return {film.stem: film for film in scenes}


def watched(
    films: dict[str, Path],
    folder: Path,
    seconds: float,
    held: list[float],
    outcomes: Counter[str],
    kind: Kind,
    *,
    added: bool,
) -> Run:
    """Watch the films once.

    Args:
        folder: for the state of the site and the broker's topics.
        held: receives the seconds for which events were held back.
        outcomes: receives the number of alerts by what became of their addition.
        kind: the addition.
        added: with it.

    Raises:
        DeployError: a server does not start.
        MistwatchError: the site does not start, or no clips come.
    """
    served = {kind.model: kind.model, **({kind.served: kind.second} if added else {})}
    with ExitStack() as stack:
        stack.enter_context(patch.object(pipeline.live.worker, "Enricher", partial(TimedEnricher, held)))
        repository = stack.enter_context(serving_together(served))
        server = stack.enter_context(TritonServer(repository))
        broker = stack.enter_context(BrokerServer(folder / "broker"))
        cameras = stack.enter_context(CameraServer(films))
        with triton.InferenceServerClient(server.grpc_address) as client:
            identity = client.get_server_metadata().name
        urls = {name: cameras.url(name) for name in films}
        service = Service(site_of(folder / "state", server.grpc_address, broker.bootstrap, urls, kind, added=added))
        try:
            service.prepare(threading.Event(), patient=False)
            service.start()
            warm_up(service)
            before, began = service.summary, spent(identity, kind if added else None)
            time.sleep(seconds)
            after, ended = service.summary, spent(identity, kind if added else None)
        finally:
            service.close()
        if added:
            outcomes.update(outcomes_of(service, kind))
    return Run(
        after.clips_scored - before.clips_scored,
        after.clips_dropped - before.clips_dropped,
        after.alerts - before.alerts,
        *(end - begin for begin, end in zip(began, ended, strict=True)),
    )


def site_of(state_dir: Path, address: str, bootstrap: str, urls: dict[str, str], kind: Kind, *, added: bool) -> Site:
    """Return the site's settings."""
    return site_from_options(
        {
            "site": "bench",
            "state_dir": state_dir,
            "triton": {"address": address, "model": kind.model},
            "kafka": {"bootstrap": bootstrap},
            "alerts": {"cooldown_seconds": COOLDOWN_SECONDS},
            "cameras": {name: {"source": url} for name, url in urls.items()},
            **({kind.section: {"model": kind.served}} if added else {}),
        }
    )


def warm_up(service: Service) -> None:
    """Wait until each camera has its first clips scored. Raises MistwatchError: they do not come."""
    limit = time.monotonic() + WARM_UP_SECONDS
    while any(state.scored < WARM_UP_CLIPS for state in service.board.states):
        if time.monotonic() > limit:
            raise MistwatchError(f"a camera has fewer than {WARM_UP_CLIPS} scored clips after {WARM_UP_SECONDS:g} s")
        time.sleep(0.1)


def spent(identity: str, kind: Kind | None) -> tuple[float, float, float]:
    """Return processor seconds so far: of this process, of a Triton with its stubs, of the second model's stub.

    Args:
        identity: the server's id.
        kind: names the second model; None: there is none.
    """
    ticks = {"all": 0, "second": 0}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        name = Path(command.partition("\0")[0]).name
        if name in ("tritonserver", "triton_python_backend_stub") and identity in command:
            ticks["all"] += (used := int(fields[11]) + int(fields[12]))
            is_second = kind is not None and name != "tritonserver" and f"/{kind.served}/" in command
            ticks["second"] += used if is_second else 0
    rate = os.sysconf("SC_CLK_TCK")
    return time.process_time(), ticks["all"] / rate, ticks["second"] / rate


def outcomes_of(service: Service, kind: Kind) -> dict[str, int]:
    """Return the number of alerts by what became of their addition, from the metrics."""
    metrics = service.metrics
    (metric,) = (metrics.likeness if kind is KINDS["likeness"] else metrics.place).collect()
    found: Counter[str] = Counter()
    for sample in metric.samples:
        if sample.name.endswith("_total"):
            found[sample.labels["outcome"]] += int(sample.value)
    return found


def figures(pairs: Sequence[Pair], held: Sequence[float], outcomes: Counter[str]) -> dict[str, Any]:
    """Return the figures of the runs."""
    shares = [pair.share for pair in pairs]
    by_parts = [pair.share_by_parts for pair in pairs]
    milliseconds = 1000 * np.array(held)
    return {
        "asked": ASKED,
        "pairs": [
            {"without": _rounded(pair.without), "with": _rounded(pair.with_it), "share": round(share, 4)}
            for pair, share in zip(pairs, shares, strict=True)
        ],
        "share": _spread(shares),
        "share_by_parts": _spread(by_parts),
        "held_ms": {
            "events": len(milliseconds),
            **{
                name: round(float(np.quantile(milliseconds, quantile)), 1)
                for name, quantile in (("median", 0.5), ("p99", 0.99), ("highest", 1.0))
            },
        },
        "outcomes": {str(outcome): outcomes[outcome] for outcome in Outcome},
    }


def _rounded(run: Run) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(run).items()}


def _spread(shares: Sequence[float]) -> dict[str, float]:
    found = {"median": np.median(shares), "lowest": min(shares), "highest": max(shares)}
    return {name: round(float(value), 4) for name, value in found.items()}


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    before, after = results["load_average"].values()
    of = results["of"]
    kind = KINDS[of]
    held, outcomes, asked = results["held_ms"], results["outcomes"], results["asked"]
    alerts = sum(outcomes.values())
    shares = ", ".join(f"{count} of {alerts} {name.replace('_', ' ')}" for name, count in outcomes.items())
    lines = [
        f"# The cost of {of}",
        "",
        f"{results['cameras']} rendered courtyards as live cameras, `{results['models'][0]}` and "
        f"`{results['models'][1]}` on an embedded Triton, {results['seconds']:g} s a run, without and with {of} "
        f"in turn, on {results['machine']['cores']} cores. The load average was {before:g} before and {after:g} after. "
        "Processor time is that of the worker and of Triton with its stubs, of a scored clip.",
        "",
        "| pair | clips, alerts without | ms a clip: worker, Triton | clips, alerts with | ms a clip: worker, Triton "
        f"| of it the {kind.stub} | more by |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for number, pair in enumerate(results["pairs"], 1):
        cells = []
        for run in (pair["without"], pair["with"]):
            worker, server = (1000 * run[part] / run["clips"] for part in ("worker", "server"))
            cells += [f"{run['clips']}, {run['alerts']}", f"{worker:.1f}, {server:.1f}"]
        second = 1000 * pair["with"]["second"] / pair["with"]["clips"]
        lines.append(f"| {number} | " + " | ".join(cells) + f" | {second:.2f} | {pair['share']:+.1%} |")
    whole, parts = results["share"], results["share_by_parts"]
    lines += [
        "",
        f"{of.capitalize()} adds {_range(whole)} to the processor time (median, lowest and highest pair). The "
        f"detector's stub varies by more than {of} costs. The worker and the stub of the {kind.stub} alone add "
        f"{_range(parts)}. Asked: at most {100 * asked['share']:g} %.{kind.remark}",
        "",
        f"Events are held back for {held['median']:.1f} ms (median), 99 % of them for at most {held['p99']:.1f} ms, "
        f"the longest for {held['highest']:.1f} ms ({held['events']} events). Asked: at most {asked['held_ms']:g} ms. "
        f"The {of} of alerts: {shares}.",
    ]
    return "\n".join(lines) + "\n"


def _range(share: dict[str, float]) -> str:
    return f"{share['median']:+.1%} ({share['lowest']:+.1%} to {share['highest']:+.1%})"


if __name__ == "__main__":
    main()
