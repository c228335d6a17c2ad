"""Measure what judging five false alarms mutes: later false alarms of that kind, and real incidents.

    python bench/muting.py [--model alike-courtyard] [--count 20] [--seconds 100]

writes bench/results/muting.json and .md. A detector is trained on days of the courtyard whose labels call open
umbrellas incidents, so it has a recurring false alarm. On fresh days, those of bench/alike_courtyard.py, its alerts
begin with the operators as live. Five alerts about umbrellas are judged normal through the memory that a worker has,
and every other alert is asked for its mute: once the first five in the order of the days, once five at random, many
times. An alert is about an umbrella if no incident is, and an umbrella is open in the middle of its peak.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt
from alike_courtyard import DAYS, FIRST_SEED, SECONDS
from alike_courtyard import KEPT as FRESH
from alike_scenes import NORMAL, Day, Scored, alerts_of, embedder_of, watched_days
from courtyard import COOLDOWN_SECONDS
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.detectors.mist.bag import Bag
from models.detectors.mist.config import read_mist_config
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.generator_training import train_generator
from pipeline.alerts.history import AlertHistory
from pipeline.alerts.judgement import judgement_event
from pipeline.courtyard.settings import OrdinaryKind
from pipeline.errors import MistwatchError
from pipeline.scoring.served_model import ServedModel

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
RECIPE = ROOT / "configs" / "train" / "courtyard-generator.yaml"
#: The films that the embedding was learned from, which have no labels there; see configs/train/simclr-courtyard.yaml.
LABELLED_SEED, LABELLED_DAYS, LABELLED_SECONDS = 1000, 30, 90.0
LABELLED = ROOT / "runs" / "muting"
#: Clips of a bag: about four seconds, as an incident begins every ten.
TRAINING_STRIDE, BAG_CLIPS = 16, 3
#: Share of the training's bags without an incident or umbrella that may reach the threshold.
FALSE_ALARMS = 0.05
JUDGED = 5
REPEATS = 50
#: Thresholds of the mutes that are compared.
SIMILARITIES = (0.3, 0.4, 0.5)
ASKED = {"muted_umbrellas": 0.80, "muted_incidents": 0.02, "incidents": 150}
_NAMESPACE = UUID("0c6f8b3a-7f0f-4a8f-9b1c-5c1b8f3f5a10")

Floats = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="alike-courtyard", help="committed embedding model, or a folder of training")
    parser.add_argument(
        "--similarity",
        type=float,
        nargs="*",
        default=SIMILARITIES,
        help="thresholds of the mutes, beside the model's suggestion",
    )
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--count", type=int, default=DAYS, help="number of fresh days")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of muting.json and muting.md")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        card, embedder = embedder_of(options.model)
        with Progress(*columns, console=Console(stderr=True)) as bars:
            labelled = watched_days(
                range(LABELLED_SEED, LABELLED_SEED + LABELLED_DAYS),
                LABELLED_SECONDS,
                card.features,
                LABELLED,
                bars,
                stride=TRAINING_STRIDE,
            )
            seeds = range(options.first_seed, options.first_seed + options.count)
            fresh = watched_days(seeds, options.seconds, card.features, FRESH, bars)
        alerts = about_umbrellas_and_incidents(fresh, misled_detector(labelled))
        embeddings = embedder.embed(np.stack([fresh[alert.day].described(alert.peak) for alert in alerts]))
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    umbrellas = [number for number, alert in enumerate(alerts) if alert.kind == OrdinaryKind.UMBRELLA]
    if len(umbrellas) <= JUDGED:
        parser.exit(1, f"{parser.prog}: {len(umbrellas)} alerts about umbrellas; expected more than {JUDGED}\n")
    draw = np.random.default_rng(0)
    drawn = [sorted(draw.choice(umbrellas, JUDGED, replace=False).tolist()) for _ in range(REPEATS)]

    def outcome(judged: list[int], similarity: float) -> Outcome:
        return Outcome.of(alerts, muted(embeddings, judged, similarity, card.version), judged)

    results = {
        "model": {"name": card.name, "version": card.version, "mute_similarity": card.mute_similarity},
        "days": options.count,
        "seconds": options.seconds,
        "staged_incidents": sum(len(day.incidents) for day in fresh),
        "alerts": {kind: sum(alert.kind == kind for alert in alerts) for kind in sorted({a.kind for a in alerts})},
        "judged": JUDGED,
        "repeats": REPEATS,
        "at": [
            {
                "similarity": similarity,
                "first_judged": outcome(umbrellas[:JUDGED], similarity).figures(),
                "at_random": spread([outcome(one, similarity) for one in drawn]),
            }
            for similarity in sorted({*options.similarity, card.mute_similarity})
        ],
    }
    record(options.results, "muting", results, page(results))
    print(page(results), end="")


@dataclass(frozen=True)
class Alert:
    """An alert of the misled detector.

    Attributes:
        kind: of its incident, or ``umbrella``, or ``normal`` for any other false alarm.
    """

    day: int
    peak: int
    kind: str


def misled_detector(days: Sequence[Day]) -> Scored:
    """Train the detector by labels that call open umbrellas incidents."""
    bags, clean = [], []
    for day in days:
        shown = np.array([OrdinaryKind.UMBRELLA in kinds for kinds in day.ordinary]) | ~day.free_of_incidents
        for first in range(0, len(shown) - BAG_CLIPS + 1, BAG_CLIPS):
            part = slice(first, first + BAG_CLIPS)
            bags.append(Bag(day.features[part], int(shown[part].any())))
            if not shown[part].any():
                clean.append(day.features[part])
    config = read_mist_config(RECIPE, ["recipe.sub_bags=3", "recipe.sub_bag_clips=1", "recipe.top_k=1"])
    generator = train_generator(bags, config.recipe, 0)
    highest = [float(clip_scores(generator, features).max()) for features in clean]
    threshold = float(np.quantile(highest, 1 - FALSE_ALARMS))
    clip = config.clip.spec
    served = ServedModel("misled", "1", clip, threshold, 0.9 * threshold, 1)
    return Scored(lambda features: clip_scores(generator, features), served)


def about_umbrellas_and_incidents(days: Sequence[Day], detector: Scored) -> list[Alert]:
    """Return the detector's alerts on the days, in order."""
    found = []
    for number, of_day in enumerate(alerts_of(days, None, cooldown_seconds=COOLDOWN_SECONDS, scored=detector)):
        for alert in of_day:
            kind = alert.kind
            if kind == NORMAL and OrdinaryKind.UMBRELLA in days[number].ordinary[alert.peak]:
                kind = str(OrdinaryKind.UMBRELLA)
            found.append(Alert(number, alert.peak, kind))
    return found


def muted(embeddings: Floats, judged: Sequence[int], similarity: float, version: str) -> npt.NDArray[np.bool_]:
    """Judge some alerts normal, and return which of all alerts the memory then mutes, (n,)."""
    history = AlertHistory(None, site="bench", embedding_version=version, similarity=similarity)
    now = datetime.now(UTC)
    for number in judged:
        history.take(
            judgement_event(
                site="bench",
                target=_id_of(number),
                camera="gate",
                verdict="normal",
                note="",
                judged_at=now,
                expires_at=None,
                similarity=similarity,
                embedding_version=version,
                exemplars=[embeddings[number]],
            )
        )
    answers = [
        history.consider(_id_of(number), embedding, "gate", None)[1] for number, embedding in enumerate(embeddings)
    ]
    return np.array([answer is not None for answer in answers])


def _id_of(number: int) -> UUID:
    return uuid5(_NAMESPACE, str(number))


@dataclass(frozen=True)
class Outcome:
    """The effect of a mute on the alerts that were not judged.

    Attributes:
        umbrellas, incidents: number of such alerts, and of those that were muted.
    """

    umbrellas: tuple[int, int]
    incidents: tuple[int, int]

    @classmethod
    def of(cls, alerts: Sequence[Alert], mutes: npt.NDArray[np.bool_], judged: Sequence[int]) -> Outcome:
        others = [number for number in range(len(alerts)) if number not in judged]
        normal = (str(OrdinaryKind.UMBRELLA), NORMAL)
        umbrellas = [mutes[number] for number in others if alerts[number].kind == OrdinaryKind.UMBRELLA]
        incidents = [mutes[number] for number in others if alerts[number].kind not in normal]
        return cls((len(umbrellas), int(sum(umbrellas))), (len(incidents), int(sum(incidents))))

    def figures(self) -> dict[str, Any]:
        return {
            "umbrellas": self.umbrellas[0],
            "muted_umbrellas": self.umbrellas[1],
            "incidents": self.incidents[0],
            "muted_incidents": self.incidents[1],
        }


def spread(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the mean shares that are muted, with the range of the middle 90 %."""
    figures = {}
    for name, pairs in (("umbrellas", [o.umbrellas for o in outcomes]), ("incidents", [o.incidents for o in outcomes])):
        shares = [muted_ones / count for count, muted_ones in pairs]
        low, high = np.quantile(shares, (0.05, 0.95))
        figures[name] = {"mean": round(float(np.mean(shares)), 3), "low": round(low, 3), "high": round(high, 3)}
    return figures


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    alerts = ", ".join(f"{count} {kind}" for kind, count in results["alerts"].items())
    lines = [
        "# Muting a recurring false alarm",
        "",
        f"A detector whose labels called open umbrellas incidents, on {results['days']} fresh days of "
        f"{results['seconds']:g} s with {results['staged_incidents']} staged incidents. Its alerts: {alerts}.",
        f"Embedding `{results['model']['version']}`. {results['judged']} alerts about umbrellas are judged normal: the "
        f"first ones of the days, or {results['judged']} at random ({results['repeats']} draws, mean and middle 90 %).",
        "Asked: at least 80 % of the other umbrellas muted, and at most 2 % of the real incidents, of 150 or more.",
        "",
        "| mute from similarity | umbrellas, first judged | incidents, first judged "
        "| umbrellas, at random | incidents, at random |",
        "|--:|--:|--:|--:|--:|",
    ]
    for one in results["at"]:
        first, random = one["first_judged"], one["at_random"]
        suggested = " (suggested)" if one["similarity"] == results["model"]["mute_similarity"] else ""
        cells = [f"{first[f'muted_{part}']} of {first[part]}" for part in ("umbrellas", "incidents")]
        cells += [
            f"{random[part]['mean']:.0%} ({random[part]['low']:.0%} to {random[part]['high']:.0%})"
            for part in ("umbrellas", "incidents")
        ]
        lines.append(f"| {one['similarity']:g}{suggested} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
