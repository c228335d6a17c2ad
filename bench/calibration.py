"""Check that a calibrated threshold keeps its budget: calibrate on normal courtyards, then watch unseen ones.

    python bench/calibration.py [--count 24] [--minutes 2] [--most-minutes 10] [--budget 30/hour]…

writes bench/results/calibration.json and .md. It renders the seeds from 9201 without incidents and scores them as
bench/courtyard.py does. Every other seed calibrates, and the rest are the check. Films and scores are kept under
runs/calibration-bench, so a bench that was stopped, or that used up --most-minutes, resumes where it was and reports on
the films so far. On two quiet cores a minute of footage takes some 20 s, so hours of footage take a night:

    python bench/calibration.py --count 98 --minutes 3

The seeds of bench/courtyard.py, 9101 to 9120, show what a calibrated threshold finds. Their films and scores are reused
if they exist, and made otherwise.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from courtyard import COOLDOWN_SECONDS, RESULTS, ROOT, Scorer, Watch, alerts_of, format_delay, watch
from courtyard import FIRST_SEED as FIRST_EVENTFUL
from courtyard import KEPT as KEPT_EVENTFUL
from courtyard import SEEDS as EVENTFUL
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.serving.export import ExportError
from operators.chain import ChainSettings
from operators.figures.events import ScoreSheet
from pipeline.calibration.search import (
    CONFIDENCE,
    Budget,
    Calibrated,
    NormalScores,
    UnsupportedBudgetError,
    calibrate,
    false_alarms,
    lower_bound,
    parse_budget,
    smoothed,
    upper_bound,
)
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import MistwatchError

KEPT = ROOT / "runs" / "calibration-bench"
#: Reserved for this bench: 9201 to 9299.
FIRST_SEED, SEEDS = 9201, 24
EVENTFUL_SECONDS = 120.0  #: length of each film of bench/courtyard.py
BUDGETS = ("15/hour", "30/hour", "60/hour", "120/hour")
#: Random halves of all seeds, to see how often a budget is kept.
DRAWS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="courtyard", help="committed model, or folder written by training")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--count", type=int, default=SEEDS, help="number of consecutive seeds")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of each film")
    parser.add_argument("--most-minutes", type=float, help="start no film after this time, and report")
    parser.add_argument("--budget", action="append", type=parse_budget, help="budget, such as 30/hour; may be repeated")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films and scores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of calibration.json and calibration.md")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.count)
    if options.count < 2:
        parser.error(f"--count {options.count}: expected at least 2: one seed to calibrate, one to check")
    try:
        scenes = [SceneSettings(seed=seed, seconds=60 * options.minutes, incidents_per_minute=0) for seed in seeds]
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bars:
            scorer = Scorer(options.model, progress=bars.console.print)
            watches = gather(scenes, scorer, options.kept, bars, options.most_minutes)
            eventful = [SceneSettings(seed=FIRST_EVENTFUL + n, seconds=EVENTFUL_SECONDS) for n in range(EVENTFUL)]
            incidents = watch(eventful, scorer, KEPT_EVENTFUL, bars)
    except (SceneError, ExportError, MistwatchError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    report = Report(watches, incidents, scorer, options.budget or [parse_budget(text) for text in BUDGETS])
    figures = report.figures()
    record(options.results, "calibration", figures, page(figures))
    print(page(figures))


def gather(
    scenes: list[SceneSettings], scorer: Scorer, kept: Path, bars: Progress, most_minutes: float | None
) -> list[Watch]:
    """Score the films, two at a time, until all are scored or the time is over."""
    began = time.monotonic()
    watches: list[Watch] = []
    for first in range(0, len(scenes) // 2 * 2, 2):
        if watches and most_minutes is not None and time.monotonic() - began > 60 * most_minutes:
            bars.console.print(f"the time is over with {len(watches)} of {len(scenes)} films")
            break
        watches += watch(scenes[first : first + 2], scorer, kept, bars)
    return watches


def scores_of(each: Watch) -> NormalScores:
    clips = [one.clip for one in each.smoothed]
    return NormalScores(
        str(each.settings.seed),
        np.array([clip.index for clip in clips]),
        np.array([clip.start for clip in clips]),
        np.array([clip.end for clip in clips]),
        np.array([clip.score for clip in clips]),
    )


@dataclass(frozen=True)
class Check:
    """A threshold's false alarms in footage that did not calibrate it."""

    hours: float
    alerts: int

    @classmethod
    def from_footage(cls, footage: list[NormalScores], settings: ChainSettings) -> Check:
        hours = sum(piece.hours for piece in footage)
        return cls(hours, len(list(false_alarms(smoothed(footage, settings), settings))))

    @property
    def rate(self) -> float:
        return self.alerts / self.hours

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the rate (Garwood), per hour."""
        low, high = lower_bound(self.alerts, confidence=0.975), upper_bound(self.alerts, confidence=0.975)
        return low / self.hours, high / self.hours


class Report:
    """Each budget's threshold: its guarantee and its outcome in the check."""

    def __init__(self, watches: list[Watch], eventful: list[Watch], scorer: Scorer, budgets: list[Budget]) -> None:
        self._watches = watches
        self._eventful = eventful
        self._scorer = scorer
        self._budgets = budgets
        self._footage = [scores_of(each) for each in watches]

    def figures(self) -> dict[str, Any]:
        card, chain, settings = self._scorer.card, self._scorer.chain, self._watches[0].settings
        whole = Check.from_footage(self._footage, chain)
        return {
            "model": {"name": card.name, "weights_sha256": card.weights_sha256},
            "seeds": [each.settings.seed for each in self._watches],
            "minutes_each": settings.seconds / 60,
            "clips": sum(len(piece.score) for piece in self._footage),
            "kernel": chain.kernel,
            "cooldown_seconds": COOLDOWN_SECONDS,
            "confidence": CONFIDENCE,
            "suggested": {
                "open_threshold": chain.alert.open_threshold,
                "close_threshold": chain.alert.close_threshold,
                **_counted(whole),
                "score_sheet": self._sheet(chain),
            },
            "eventful_seeds": [each.settings.seed for each in self._eventful],
            "budgets": [self._budget(budget) for budget in self._budgets],
        }

    def _budget(self, budget: Budget) -> dict[str, Any]:
        found = self._calibrated(self._footage[::2], budget)
        if isinstance(found, str):
            return {"budget": budget.text, "refused": found}
        check = Check.from_footage(self._footage[1::2], found.settings)
        kept, tried = self._halves(budget)
        return {
            "budget": budget.text,
            "budget_per_hour": budget.per_hour,
            "open_threshold": found.settings.alert.open_threshold,
            "close_threshold": found.settings.alert.close_threshold,
            "calibrated_on": {
                "hours": round(found.hours, 4),
                "false_alarms": len(found.false_alarms),
                "bursts": found.bursts,
                "at_most_per_hour": round(found.at_most_per_hour, 3),
            },
            "checked_on": _counted(check),
            "kept": check.rate <= budget.per_hour,
            "halves": {"kept": kept, "of": tried},
            "score_sheet": self._sheet(found.settings),
        }

    def _sheet(self, chain: ChainSettings) -> dict[str, Any]:
        """Score sheet of these settings on the films with incidents."""
        watches = [
            alerts_of(
                each.settings,
                each.incidents,
                [[one.clip.start, one.clip.end, one.clip.score] for one in each.smoothed],
                self._scorer.card.name,
                chain,
            )
            for each in self._eventful
        ]
        sheet = sum((each.sheet for each in watches), ScoreSheet())
        return {
            "incidents": sheet.incidents,
            "found": sheet.found,
            "false_alarms": sheet.false_alarms,
            "hours": round(sheet.camera_seconds / 3600, 4),
            "median_delay": sheet.median_delay,
            "p95_delay": sheet.p95_delay,
        }

    def _calibrated(self, footage: list[NormalScores], budget: Budget) -> Calibrated | str:
        try:
            return calibrate(footage, self._scorer.chain, budget)
        except UnsupportedBudgetError as error:
            return str(error)

    def _halves(self, budget: Budget) -> tuple[int, int]:
        """Count the random halves that kept the budget calibrated on the other half; return (kept, tried)."""
        rng = np.random.default_rng(0)
        kept = tried = 0
        for _ in range(DRAWS):
            order = rng.permutation(len(self._footage))
            half = len(order) // 2
            found = self._calibrated([self._footage[i] for i in order[:half]], budget)
            if not isinstance(found, str):
                tried += 1
                rest = [self._footage[i] for i in order[half:]]
                kept += Check.from_footage(rest, found.settings).rate <= budget.per_hour
        return kept, tried


def _counted(check: Check) -> dict[str, Any]:
    low, high = check.interval
    return {
        "hours": round(check.hours, 4),
        "false_alarms": check.alerts,
        "per_hour": round(check.rate, 3),
        "interval_95": [round(low, 3), round(high, 3)],
    }


def page(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    model, seeds, suggested, eventful = found["model"], found["seeds"], found["suggested"], found["eventful_seeds"]
    hours = suggested["hours"]
    lines = [
        f"# Calibration: {len(seeds)} courtyards without incidents",
        "",
        f"Seeds {seeds[0]} to {seeds[-1]}, {found['minutes_each']:g} minutes each: {hours:.2f} h, {found['clips']} "
        f"clips. Model `{model['name']}` (weights `{model['weights_sha256'][:12]}`), kernel {found['kernel']}, "
        f"cooldown {found['cooldown_seconds']:g} s. Every other seed calibrates and the rest are the check. A "
        f"guarantee holds with {100 * found['confidence']:g} % confidence. `bench/calibration.py` writes this page.",
        "",
        f"At the threshold in the model's card ({suggested['open_threshold']:g}), there are "
        f"{suggested['false_alarms']} false alarms in all {hours:.2f} h.",
        "",
        "| budget | opens at | false alarms in calibration | guaranteed at most | false alarms in the check "
        "| per hour (95 %) | within the budget | random halves within the budget |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
    ]
    for one in found["budgets"]:
        if "refused" in one:
            lines.append(f"| {one['budget']} | refused: {one['refused']} | | | | | | |")
            continue
        before, after, halves = one["calibrated_on"], one["checked_on"], one["halves"]
        low, high = after["interval_95"]
        lines.append(
            f"| {one['budget']} | {one['open_threshold']:g} | {before['false_alarms']} in {before['hours']:.2f} h "
            f"| {before['at_most_per_hour']:.1f}/hour | {after['false_alarms']} in {after['hours']:.2f} h "
            f"| {after['per_hour']:.1f} ({low:.1f} to {high:.1f}) | {'yes' if one['kept'] else '**no**'} "
            f"| {halves['kept']} of {halves['of']} |"
        )
    lines += [
        "",
        "For the last column, random halves of all seeds are drawn. One half calibrates, and the rate in the other "
        "is compared with the budget. The draws share their footage, and the rate of a half varies around the true "
        "one. The column shows how often the budget is kept, but it is not a test of the guarantee. "
        "`tests/pipeline/calibration/test_search.py` is that test: there the true rate is known.",
        "",
        f"## Incidents found: seeds {eventful[0]} to {eventful[-1]}",
        "",
        "| thresholds | opens, closes | incidents found | recall | false alarms per hour | delay, median "
        "| delay, 95th percentile |",
        "|---|---|--:|--:|--:|--:|--:|",
        _found("as the model suggests", suggested),
        *(_found(f"calibrated, {one['budget']}", one) for one in found["budgets"] if "refused" not in one),
    ]
    return "\n".join(lines) + "\n"


def _found(name: str, one: dict[str, Any]) -> str:
    sheet = one["score_sheet"]
    return (
        f"| {name} | {one['open_threshold']:g}, {one['close_threshold']:g} | {sheet['found']} of {sheet['incidents']} "
        f"| {sheet['found'] / sheet['incidents']:.3f} "
        f"| {sheet['false_alarms'] / sheet['hours']:.1f} ({sheet['false_alarms']} in {sheet['hours']:.2f} h) "
        f"| {format_delay(sheet['median_delay'])} | {format_delay(sheet['p95_delay'])} |"
    )


if __name__ == "__main__":
    main()
