"""Measure recall, false alarms per hour and delay on fights and Ped2, before and after calibration.

    python bench/labelled_sets.py [--data ../shared/data] [--ped2-model runs/ped2-i3d/product] [--only fights]

writes bench/results/labelled_sets.json and .md. It uses only videos that the model never saw (its card's
held_out_sources). `mistwatch replay` runs them into runs/labelled-sets, and they are judged with the operators of that
replay. Every other normal video calibrates; the rest and all abnormal ones are judged. These sets have a minute or two
of normal footage, so the budget is the lowest that this much can support, without a single alert. Make Ped2's model
with

    mistwatch train mist --config configs/train/ped2-i3d.yaml --data ../shared/data/ped2
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from courtyard import format_delay
from misleading import first_clip
from recorded import record

from models.card import CARD_FILE, ModelCard
from models.jobs.video_plan import VideoChoice, planned
from operators.chain import ChainSettings
from operators.figures.events import bootstrap, total
from pipeline.calibration.search import CONFIDENCE, Budget, NormalScores, calibrate, lower_bound, upper_bound
from pipeline.evaluation.alarms import alert_spans
from pipeline.evaluation.judged import CAUSAL, RAW, JudgedVideo
from pipeline.evaluation.judged_run import judge_run
from pipeline.manifests.layouts import read_layout
from pipeline.manifests.manifest import Video, manifest_lines
from pipeline.runs.folder import read_run

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "labelled-sets"
DATA = ROOT.parent / "shared" / "data"
FIGHTS = ROOT / "models" / "weights" / "fights"
PED2_PRODUCT = ROOT / "runs" / "ped2-i3d" / "product"
DRAWS = 2000
SECONDS_AN_HOUR = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with fights/ and ped2/")
    parser.add_argument("--ped2-model", type=Path, default=PED2_PRODUCT, help="folder written by training")
    parser.add_argument("--only", choices=["fights", "ped2"])
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the replays")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of labelled_sets.json and .md")
    options = parser.parse_args()
    if options.only != "fights" and not (options.ped2_model / CARD_FILE).exists():
        parser.exit(
            2, f"{parser.prog}: {options.ped2_model}: no model in this folder; --help has the command that makes it\n"
        )
    sets = []
    if options.only != "ped2":
        sets.append(Set.from_videos("fights", FIGHTS, _unseen_fights(options.data / "fights")))
    if options.only != "fights":
        sets.append(
            Set.from_videos("ped2", options.ped2_model, _unseen_ped2(options.data / "ped2", options.ped2_model))
        )
    found = {"confidence": CONFIDENCE, "draws": DRAWS, "sets": [one.figures(options.kept) for one in sets]}
    record(options.results, "labelled_sets", found, page(found))
    print(page(found))


def _unseen_fights(folder: Path) -> list[Video]:
    """Return the clips of films that the committed model never saw."""
    unseen = set(_card(FIGHTS).held_out_sources)
    return [video for video in read_layout("fights", folder) if video.group in unseen]


def _unseen_ped2(folder: Path, product: Path) -> list[Video]:
    """Return the test split that the product's recipe and seed drew."""
    recipe = yaml.safe_load((product / "recipe.yaml").read_text(encoding="utf-8"))
    choice = VideoChoice.model_validate(recipe["videos"])
    return list(planned(read_layout("ped2", folder), choice, _card(product).training["seed"]).test)


def _card(model: Path) -> ModelCard:
    return ModelCard.model_validate_json((model / CARD_FILE).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Set:
    """A labelled set, and the model that judges it.

    Attributes:
        too_short: videos of which the model's clips cannot be cut; they are left out.
    """

    name: str
    model: Path
    card: ModelCard
    videos: tuple[Video, ...]
    too_short: tuple[Video, ...]

    @classmethod
    def from_videos(cls, name: str, model: Path, videos: Sequence[Video]) -> Set:
        card = _card(model)
        too_short = tuple(video for video in videos if first_clip(video, card.clip.spec) is None)
        return cls(name, model, card, tuple(video for video in videos if video not in too_short), too_short)

    def figures(self, kept: Path) -> dict[str, Any]:
        """Replay the set, and judge it by the suggested thresholds and by calibrated ones."""
        judged = judge_run(read_run(self._replayed(kept))).videos
        normal = sorted((video for video in judged if not video.label), key=lambda video: video.name)
        before, after = normal[::2], normal[1::2]
        shown = [*after, *(video for video in judged if video.label)]
        chain = shown[0].chain
        assert chain is not None
        footage = [piece for video in before for piece in pieces(video)]
        # Without a target budget, use the lowest that this footage can support, which it keeps without an alert.
        hours = sum(piece.hours for piece in footage)
        budget = Budget("the least that it supports", upper_bound(0) / hours * (1 + 1e-9))
        found = calibrate(footage, chain, budget)
        return {
            "name": self.name,
            "model": {"name": self.card.name, "weights_sha256": self.card.weights_sha256},
            "kernel": chain.kernel,
            "normal_before": len(before),
            "normal": len(after),
            "abnormal": len(shown) - len(after),
            "seconds_before": round(hours * SECONDS_AN_HOUR, 1),
            "budget_per_hour": round(budget.per_hour, 1),
            "too_short": [video.path.name for video in self.too_short],
            "rows": [row("as the model suggests", shown, chain), row("calibrated", shown, found.settings)],
        }

    def _replayed(self, kept: Path) -> Path:
        """Return a run folder of the videos; videos from an earlier bench are not scored again."""
        kept.mkdir(parents=True, exist_ok=True)
        manifest = kept / f"{self.name}.jsonl"
        manifest.write_text(manifest_lines(self.videos), encoding="utf-8")
        folder = kept / f"{self.name}-{self.card.weights_sha256[:12]}"
        command = [sys.executable, "-m", "pipeline.cli", "replay", str(manifest)]
        subprocess.run([*command, "--model", str(self.model), "--out", str(folder)], check=True)
        return folder


def pieces(video: JudgedVideo) -> Iterator[NormalScores]:
    """Yield the scores of each of the video's segments."""
    for first, end in zip(video.breaks, [*video.breaks[1:], len(video.start)], strict=True):
        part = slice(first, end)
        scores = video.clip_scores[RAW][part]
        yield NormalScores(video.name, np.arange(len(scores)), video.start[part], video.end[part], scores)


def row(name: str, videos: Sequence[JudgedVideo], chain: ChainSettings) -> dict[str, Any]:
    """Judge alerts by these settings, with a bootstrap interval over videos and an exact one for false alarms."""
    sheets = [
        video.sheet_of(alert_spans(video.clip_scores[CAUSAL], video.start, video.end, video.breaks, chain.alert))
        for video in videos
    ]
    sheet = total(sheets)
    recall = bootstrap(sheets, np.random.default_rng(0), figures={"recall": lambda one: one.recall}, draws=DRAWS)
    hours = sheet.camera_seconds / SECONDS_AN_HOUR
    count = sheet.false_alarms
    return {
        "thresholds": name,
        "open_threshold": chain.alert.open_threshold,
        "close_threshold": chain.alert.close_threshold,
        "incidents": sheet.incidents,
        "found": sheet.found,
        "recall_interval_95": recall["recall"],
        "false_alarms": count,
        "hours": round(hours, 5),
        "false_alarms_per_hour": round(count / hours, 1),
        "false_alarms_interval_95": [
            round(lower_bound(count, confidence=0.975) / hours, 1),
            round(upper_bound(count, confidence=0.975) / hours, 1),
        ],
        "median_delay": sheet.median_delay,
        "p95_delay": sheet.p95_delay,
    }


def page(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Fights and Ped2, before and after calibration",
        "",
        "Videos that the model never saw, run through `mistwatch replay`. Every other normal video calibrates; the "
        "rest and all abnormal ones are judged. `bench/labelled_sets.py` writes this page.",
        "",
    ]
    for one in found["sets"]:
        model = one["model"]
        lines += [
            f"**{one['name']}**, model `{model['name']}` (weights `{model['weights_sha256'][:12]}`), kernel "
            f"{one['kernel']}. Calibrated on {one['normal_before']} normal videos, {one['seconds_before']:g} s. The "
            f"lowest budget that they support is {one['budget_per_hour']:g} false alarms per hour "
            f"({100 * found['confidence']:g} % confidence). Judged on {one['normal']} other normal videos and "
            f"{one['abnormal']} abnormal ones.{_left_out(one['too_short'])}",
            "",
            "| thresholds | opens, closes | incidents found | recall (95 %) | false alarms | per hour (95 %) "
            "| delay, median | delay, 95th percentile |",
            "|---|---|--:|--:|--:|--:|--:|--:|",
            *(_line(each) for each in one["rows"]),
            "",
        ]
    return "\n".join(
        [
            *lines,
            "Recall: percentile bootstrap over videos. False alarms: exact Poisson interval; so little footage says "
            "little about an hour. The fights set does not give the time of a fight within its clip, so the whole "
            "clip counts as one incident.",
            "",
        ]
    )


def _left_out(too_short: Sequence[str]) -> str:
    return f" Too short for a clip, and left out: {', '.join(too_short)}." if too_short else ""


def _line(row: dict[str, Any]) -> str:
    (low, high), (fewest, most) = row["recall_interval_95"], row["false_alarms_interval_95"]
    return (
        f"| {row['thresholds']} | {row['open_threshold']:g}, {row['close_threshold']:g} "
        f"| {row['found']} of {row['incidents']} | {row['found'] / row['incidents']:.2f} ({low:.2f} to {high:.2f}) "
        f"| {row['false_alarms']} in {60 * row['hours']:.1f} min | {row['false_alarms_per_hour']:g} ({fewest:g} to "
        f"{most:g}) | {format_delay(row['median_delay'])} | {format_delay(row['p95_delay'])} |"
    )


if __name__ == "__main__":
    main()
