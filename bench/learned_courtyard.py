"""Learn a detector of the rendered courtyard from normal footage alone, and judge it beside the supervised model.

    python bench/learned_courtyard.py [--detector motion] [--count 20] [--minutes 5]

writes bench/results/learned_courtyard-DETECTOR.json and .md. The courtyard's camera has one place: another seed is
another day, with its own light, people and weather. So the footage to learn from is of four days, as an operator would
take several parts of the day, and the test films are of other days. The command is that of an operator: `mistwatch
learn`, with its defaults. The exported program and the supervised model score the same films, as in bench/courtyard.py.
Films with abandoned objects, and with no other incidents, are judged apart.

The thresholds for so many false alarms an hour are read off the test films' own false alarms, for both models alike:
points of a curve, not a calibration. Films and scores are kept under runs/learned-courtyard. A bench that was stopped
resumes where it was. On two quiet cores the whole takes one to two hours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from courtyard import DRAWS, RESULTS, ROOT, Report, Scorer, Watch, film_of, format_delay, render_missing, watch
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.card import ModelCard
from models.detectors.base import FAMILIES, LearnsFrom, find_family
from operators.chain import ChainSettings
from operators.figures.events import Interval, ScoreSheet, total
from pipeline.calibration.search import with_threshold
from pipeline.cli.score_sheet import NOTHING
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import MistwatchError
from pipeline.evaluation.alarms import alert_spans

KEPT = ROOT / "runs" / "learned-courtyard"
#: Reserved for this bench: days to test on, and days to learn from.
TEST_SEED, SEEDS = 19201, 20
LEARN_SEED, LEARN_FILMS = 19301, 4
#: False alarms an hour, and the recall that is asked for.
ASKED = {30.0: None, 6.0: 0.8, 1.0: 0.7}
#: Tried from the highest to the lowest, until there are more false alarms than at any rate.
THRESHOLDS = [round(0.995 - 0.005 * step, 3) for step in range(199)]
ABANDONED_PER_MINUTE = 1.0
SUGGESTED = "as suggested"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = [name for name in FAMILIES if find_family(name).learns_from is LearnsFrom.NORMAL_FOOTAGE]
    parser.add_argument("--detector", choices=kinds, default="motion", help="kind of detector that is learned")
    parser.add_argument("--model", default="courtyard", help="supervised model: a committed one, or a folder")
    parser.add_argument("--alone", action="store_true", help="judge the learned detector alone, not beside the model")
    parser.add_argument("--first-seed", type=int, default=TEST_SEED)
    parser.add_argument("--count", type=int, default=SEEDS, help="number of consecutive seeds")
    parser.add_argument("--objects", type=int, help="number of seeds with abandoned objects too; all by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each test film")
    parser.add_argument("--learn-films", type=int, default=LEARN_FILMS, help="number of days to learn from")
    parser.add_argument("--learn-minutes", type=float, default=20.0, help="length of all footage to learn from")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films, scores and the learned detector")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    options = parser.parse_args()
    if not 1 <= (options.objects or options.count) <= options.count:
        parser.error(f"--objects {options.objects}: expected 1 to {options.count}, the number of seeds")
    try:
        seconds = 60 * options.learn_minutes / options.learn_films
        days = range(LEARN_SEED, LEARN_SEED + options.learn_films)
        normal = [SceneSettings(seed=seed, seconds=seconds, incidents_per_minute=0) for seed in days]
        mixed = [SceneSettings(seed=options.first_seed + n, seconds=60 * options.minutes) for n in range(options.count)]
        lying = mixed[: options.objects]
        objects = [replace(one, incidents_per_minute=ABANDONED_PER_MINUTE, abandoned=True) for one in lying]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            product = learn(options.detector, normal, options.kept, bars)
            judged = []
            for model in [str(product)] + [options.model] * (not options.alone):
                scorer = Scorer(model, progress=bars.console.print)
                watches, apart = (watch(scenes, scorer, options.kept, bars) for scenes in (mixed, objects))
                judged.append(judge(scorer.card, scorer.chain, watches, apart))
    except (SceneError, MistwatchError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    footage = {"seeds": list(days), "minutes": options.learn_minutes}
    results = {"detector": options.detector, "learned_from": footage, "minutes": options.minutes, "models": judged}
    results |= {
        "seeds": [one.seed for one in mixed],
        "object_seeds": [one.seed for one in objects],
        "asked": {f"{rate:g}/hour": share for rate, share in ASKED.items()},
    }
    record(options.results, f"learned_courtyard-{options.detector}", results, page(results))
    print(page(results), end="")


def learn(detector: str, scenes: list[SceneSettings], kept: Path, bars: Progress, changes: Sequence[str] = ()) -> Path:
    """Learn the detector from the scenes' films by the command, and return its product.

    Args:
        changes: of the recipe, KEY=VALUE.

    Raises:
        MistwatchError: the command has failed.
    """
    films = [film_of(scene, kept) for scene in scenes]
    render_missing(dict(zip(films, scenes, strict=True)), bars)
    out = kept / detector
    command = [sys.executable, "-m", "pipeline.cli", "learn", *films, "--camera", "courtyard"]
    command += ["--detector", detector, "--out", out, *(part for change in changes for part in ("--set", change))]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise MistwatchError(f"mistwatch learn has ended with status {done.returncode}")
    return out / "product"


@dataclass(frozen=True)
class Smoothed:
    """A camera's smoothed scores, for many thresholds."""

    watch: Watch
    values: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @classmethod
    def from_watch(cls, one: Watch) -> Smoothed:
        rows = [(each.value, each.clip.start, each.clip.end) for each in one.smoothed]
        return cls(one, *np.array(rows, np.float64).reshape(-1, 3).T)

    def at(self, chain: ChainSettings) -> Watch:
        """Return the camera with the alerts that these settings raise."""
        return replace(self.watch, alerts=list(alert_spans(self.values, self.start, self.end, (0,), chain.alert)))


def at_rates(smoothed: Sequence[Smoothed], chain: ChainSettings, rates: Sequence[float]) -> dict[float, ChainSettings]:
    """Return the settings at which the most incidents are found with so many false alarms an hour, for each rate.

    Tried are the thresholds down to which no threshold has more false alarms. Far below, there would be few again,
    because an alert that never ends is a single one. Of equally good thresholds the highest one is taken. A rate that
    the highest threshold exceeds is left out.
    """
    found: dict[float, tuple[int, ChainSettings]] = {}
    for threshold in THRESHOLDS:
        settings = with_threshold(chain, threshold)
        sheet = total(one.at(settings).sheet for one in smoothed)
        rates = [rate for rate in rates if (sheet.false_alarms_per_camera_hour or 0.0) <= rate]
        if not rates:
            break
        found |= {rate: (sheet.found, settings) for rate in rates if rate not in found or sheet.found > found[rate][0]}
    return {rate: settings for rate, (_, settings) in found.items()}


def judge(card: ModelCard, chain: ChainSettings, watches: list[Watch], apart: list[Watch]) -> dict[str, Any]:
    """Return a model's figures at each point, over all cameras and by kind; abandoned objects apart."""
    smoothed, objects = ([Smoothed.from_watch(one) for one in some] for some in (watches, apart))
    points = {SUGGESTED: chain}
    points |= {f"{rate:g}/hour": found for rate, found in at_rates(smoothed, chain, list(ASKED)).items()}
    figures = {}
    for name, point in points.items():
        report, other = (Report([one.at(point) for one in some], card, point) for some in (smoothed, objects))
        figures[name] = {
            "open_threshold": point.alert.open_threshold,
            "close_threshold": point.alert.close_threshold,
            **figures_of(report.sheet, report.intervals["recall"]),
            "kinds": {
                kind: figures_of(findings, report.kinds[kind]) for kind, findings in report.sheet.by_kind().items()
            },
            "abandoned": figures_of(other.sheet, other.intervals["recall"]),
        }
    hours = sum(one.watch.watched.seconds for one in smoothed) / 3600
    model = {"name": card.name, "family": card.family, "weights_sha256": card.weights_sha256}
    return {"model": model, "kernel": chain.kernel, "camera_hours": round(hours, 4), "points": figures}


def figures_of(sheet: Any, interval: Interval | None) -> dict[str, Any]:
    """Return the figures of a sheet, or of one kind's findings, for the JSON file."""
    rounded = {
        "recall": sheet.recall,
        "median_delay": sheet.median_delay,
        "p95_delay": sheet.p95_delay,
    }
    if isinstance(sheet, ScoreSheet):
        rounded["false_alarms_per_camera_hour"] = sheet.false_alarms_per_camera_hour
    return {
        "incidents": sheet.incidents,
        "found": sheet.found,
        **{name: None if value is None else round(value, 4) for name, value in rounded.items()},
        "interval_95": None if interval is None else [round(end, 4) for end in interval],
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    seeds, learned = results["seeds"], results["learned_from"]
    beside = ", beside the supervised model" if len(results["models"]) > 1 else ", alone"
    lines = [
        f"# Courtyard, learned from normal footage: {results['detector']}",
        "",
        f"`mistwatch learn --detector {results['detector']}` with its defaults on {learned['minutes']:g} minutes "
        f"without incidents (seeds {learned['seeds'][0]} to {learned['seeds'][-1]}), judged on seeds {seeds[0]} to "
        f"{seeds[-1]}, {results['minutes']:g} minutes each{beside}. Another seed is another day "
        "of the same camera. A threshold for so many false alarms an hour is the one at which the most incidents are "
        "found in these films with no more of them: a point of a curve, not a calibration. Intervals: percentile "
        f"bootstrap over seeds, {DRAWS} draws. `bench/learned_courtyard.py` writes this page.",
    ]
    for one, asked in zip(results["models"], (results["asked"], {}), strict=False):  # alone, or beside another
        lines += ["", f"## {one['model']['name']}", "", *table(one, asked), "", *kinds_table(one)]
    lines += [
        "",
        f"Abandoned objects are judged apart, in films without other incidents ({len(results['object_seeds'])} of the "
        "seeds), at the thresholds of the other films.",
    ]
    return "\n".join(lines) + "\n"


def table(one: dict[str, Any], asked: dict[str, float | None]) -> list[str]:
    lines = [
        f"{one['camera_hours']:.2f} camera-hours, kernel {one['kernel']}.",
        "",
        "| threshold | opens at | found | recall | 95 % interval | target | false alarms an hour | delay, median "
        "| 95th percentile |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in (SUGGESTED, *(f"{rate:g}/hour" for rate in ASKED)):
        if (point := one["points"].get(name)) is None:
            lines.append(f"| {name} | no threshold has so few |" + " |" * 7)
            continue
        target = f"≥ {asked[name]:g}" if asked.get(name) else ""
        lines.append(
            f"| {name} | {point['open_threshold']:g} | {_found(point)} | {_share(point['recall'])} | {_between(point)} "
            f"| {target} | {point['false_alarms_per_camera_hour']:.1f} | {format_delay(point['median_delay'])} "
            f"| {format_delay(point['p95_delay'])} |"
        )
    return lines


def kinds_table(one: dict[str, Any]) -> list[str]:
    points = one["points"]
    lines = [f"| found, by kind | {' | '.join(points)} |", "|---|" + "--:|" * len(points)]
    for kind in sorted({kind for point in points.values() for kind in point["kinds"]}):
        cells = (f"{_found(point['kinds'][kind])} ({_between(point['kinds'][kind])})" for point in points.values())
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    cells = (f"{_found(point['abandoned'])} ({_between(point['abandoned'])})" for point in points.values())
    return [*lines, f"| abandoned object, apart | {' | '.join(cells)} |"]


def _found(figures: dict[str, Any]) -> str:
    return f"{figures['found']} of {figures['incidents']}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"**{value:.2f}**"


def _between(figures: dict[str, Any]) -> str:
    return NOTHING if figures["interval_95"] is None else "{:.2f} to {:.2f}".format(*figures["interval_95"])


if __name__ == "__main__":
    main()
