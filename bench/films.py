"""Measure what films of alerts cost: two live cameras that keep their packets and make films, and two that do not.

    python bench/films.py [--data ../shared/data] [--rounds 4] [--seconds 20] [--out bench/results/films.json]

The ways are measured alternately in one process. The cameras are live: films of 640 × 480 and 25 pictures a second at
the pace of their own clock, read by the code of all live cameras but for the network; a clip's frames of 224 × 224 are
scaled at 5 a second. With films, each camera makes them one after the other, each of an alert of 3 s with 5 s before
and after it: far more than a camera with alerts now and then. Processor time is that of the process, for each second of
a camera's stream, whatever the load of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from alternately import machine
from cameras import make_film
from film_camera import FilmCamera

from pipeline.sources.base import Fit, Frame, FrameSpec
from pipeline.sources.factory import SourceCallbacks
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmReport, FilmState, RingLimits

CAMERAS, FPS = 2, 25
SPEC = FrameSpec(224, 224, Fit.CROP, 5.0)
ROLL_SECONDS, ALERT_SECONDS = 5.0, 3.0


class Alerting:
    """A camera whose alerts follow one another."""

    def __init__(self, source: FilmCamera, folder: Path) -> None:
        self._source, self._folder = source, folder
        self.films: list[FilmReport] = []
        self._number = 0
        self._order: FilmOrder | None = None

    def report(self, report: FilmReport) -> None:
        if report.state is not FilmState.BEGUN:
            self.films.append(report)

    def take(self, frame: Frame) -> None:
        at, order = frame.pts_seconds, self._order
        if order is None:
            self._number += 1
            self._order = FilmOrder(self._number, frame.segment.id, at, ROLL_SECONDS, ROLL_SECONDS, 120.0, 250_000_000)
            path = self._folder / f"{self._source.camera}-{self._number}.mp4"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            self._source.begin_film(self._order, descriptor)
            os.close(descriptor)
        elif order.starts_at + ALERT_SECONDS <= at < order.starts_at + ALERT_SECONDS + 0.5:
            self._source.end_film(FilmEnd(order.number, frame.segment.id, at))
        elif at >= order.starts_at + ALERT_SECONDS + ROLL_SECONDS:
            self._order = None


def watch(film: Path, folder: Path, seconds: float, *, films: bool) -> tuple[float, list[FilmReport]]:
    """Return the processor seconds for each second of a camera's stream, and the films."""
    stop = threading.Event()
    frames = [0] * CAMERAS
    alerting: list[Alerting] = []

    def run(number: int) -> None:
        made: list[Alerting] = []
        source = FilmCamera(
            f"c{number}",
            film,
            SourceCallbacks(on_film=lambda report: made[0].report(report)),
            RingLimits(16_000_000, 35.0) if films else None,
        )
        made.append(Alerting(source, folder))
        alerting.append(made[0])
        with closing(source.frames([SPEC], stop)) as items:  # type: ignore[type-var]
            for item in items:
                if isinstance(item, Frame):
                    frames[number] += 1
                    if films:
                        made[0].take(item)

    threads = [threading.Thread(target=run, args=[number]) for number in range(CAMERAS)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)  # connected
    began, first = time.process_time(), sum(frames)
    time.sleep(seconds)
    spent, taken = time.process_time() - began, sum(frames) - first
    stop.set()
    for thread in threads:
        thread.join()
    return spent / (taken / (SPEC.fps or FPS)), [report for one in alerting for report in one.films]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MISTWATCH_DATA", "../shared/data")))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "results" / "films.json")
    arguments = parser.parse_args()
    costs: dict[bool, list[float]] = {False: [], True: []}
    made: list[FilmReport] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = make_film(arguments.data, folder, arguments.seconds + 20)
        rate = 8 * film.stat().st_size / (arguments.seconds + 20) / 1e6
        for number in range(arguments.rounds):
            for films in (False, True) if number % 2 else (True, False):
                cost, reports = watch(film, folder, arguments.seconds, films=films)
                costs[films].append(cost)
                made += reports
                print(f"{'with' if films else 'without'} films: {100 * cost:.2f} % of a core a camera", flush=True)
    added = [100 * (more - less) for more, less in zip(costs[True], costs[False], strict=True)]
    result = {
        "machine": machine(),
        "stream_mbit_per_second": round(rate, 2),
        "percent_of_a_core_a_camera": {
            "without": [round(100 * cost, 3) for cost in costs[False]],
            "with": [round(100 * cost, 3) for cost in costs[True]],
            "added_median": round(statistics.median(added), 3),
            "added": [round(one, 3) for one in added],
        },
        "films": len(made),
        "films_failed": sum(report.state is FilmState.FAILED for report in made),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
