"""Measure the false alarms of stage 1 on ordinary footage of places that its training has not seen.

    python bench/ordinary.py --data ../shared/data/fights [--only]

writes bench/results/ordinary.json and .md. Each place of the ordinary footage (the recipe's extra_normals) is scored by
models that were trained without it: those of five folds of the fights, in three divisions. The threshold of a division
is the one that 5 % of the fights' normal clips exceed out of fold. Features come from the user's cache or are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fight_variants import BEFORE, RAW, RECIPE, WITHOUT_EXTRA, Clips, Dataset, Work, by_place, recipe_parser
from fights_folds import DIVISIONS, FOLDS, RESULTS
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.card import Alerting
from models.data.extraction import FeaturesError
from models.data.video_store import OfClips
from models.detectors.mist.config import MistConfig
from models.detectors.mist.footage import Seen
from models.detectors.mist.generator import Generator
from models.detectors.mist.generator_scoring import clip_logits
from models.detectors.mist.generator_training import train_generator
from models.jobs.calibration import Calibration, ClipScores, fit_calibration
from models.jobs.errors import ConfigError, TrainingError
from models.jobs.thresholds import suggest_alerting
from operators.alerting import AlertState
from operators.chain import ChainSettings, ScoreChain
from operators.scores import ClipScore, SegmentEnd
from pipeline.live.judging import chain_settings
from pipeline.manifests.fights import fights
from pipeline.manifests.folds import group_folds
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.ordinary import ordinary_footage
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import AlertTuning
from pipeline.windows import ClipSpec

SECONDS = 2.0  #: length of the pieces of ordinary footage, like the fights' clips
FALSE_POSITIVES = 0.05
SEED = 0  #: of the trainings
ASKED = 0.10
#: Places whose share is asked for; the others are reported.
ASKED_OF = ("vtest.avi", "ped2/train")
VARIANTS = (RECIPE, WITHOUT_EXTRA, RAW, BEFORE)


@dataclass(frozen=True)
class Film:
    """One recording of ordinary footage.

    Attributes:
        training, live: its clips as the training cuts them, and as they are cut live.
    """

    training: Seen
    live: Seen

    @property
    def hours(self) -> float:
        """Its length, up to its last clip."""
        return float(self.training.ends[-1] - self.training.starts[0]) / 3600


@dataclass(frozen=True)
class Trained:
    """The models of one division, trained without one place, and the threshold that their scores of the fights give.

    Attributes:
        generators: of the folds.
        threshold: exceeded by 5 % of the fights' normal clips, out of fold.
        alerting: suggested by the same scores, cut as live.
    """

    generators: list[Generator]
    calibration: Calibration
    threshold: float
    alerting: Alerting


def main() -> None:
    parser = recipe_parser(__doc__)
    parser.add_argument("--only", action="store_true", help="the recipe with and without ordinary footage alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of ordinary.json and .md")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        config = RECIPE.config(options.config, options.set)
        if config.extra_normals is None:
            parser.error(f"{options.config}: the recipe has no extra_normals, the ordinary footage to score")
        ordinary = ordinary_footage(config.extra_normals.footage)
        videos = fights(options.data)
        found = {}
        with Progress(*columns, console=Console(stderr=True)) as bars:
            work = Work(bars)
            for variant in VARIANTS[:2] if options.only else VARIANTS:
                changed = variant.config(options.config, options.set)
                clips = Clips(changed, config)
                dataset = clips.dataset(videos, ordinary, work(f"features, {variant.name}"))
                clips.fill([], ordinary, work(f"ordinary footage, {variant.name}"), live=[*dataset.videos, *ordinary])
                films = {
                    place: [one for video in of_place if (one := film_of(clips, video)) is not None]
                    for place, of_place in by_place(ordinary).items()
                }
                found[variant.name] = measured(
                    dataset, clips, films, changed, work(f"models, {variant.name}"), trains_on=dataset.ordinary
                )
    except (ConfigError, ManifestError, FeaturesError, TrainingError) as error:
        parser.exit(1, "".join(f"{parser.prog}: {line}\n" for line in str(error).splitlines()))
    results = {
        "recipe": config.model_dump(mode="json", exclude={"data", "sees", "does_not_see", "description"}),
        "folds": FOLDS,
        "divisions": list(DIVISIONS),
        "seconds": SECONDS,
        "false_positives": FALSE_POSITIVES,
        "asked": ASKED,
        "asked_of": [place for place in ASKED_OF if place in found[RECIPE.name]["places"]],
        "variants": found,
    }
    record(options.results, "ordinary", results, page(results))
    print(page(results), end="")


def film_of(clips: Clips, video: Video) -> Film | None:
    """Return a recording with its clips; None where it is too short for one."""
    training, live = clips.footage.training(video), clips.footage.live(video)
    return Film(clips.narrowed(training), clips.narrowed(live)) if len(training) and len(live) else None


def measured(
    dataset: Dataset,
    clips: Clips,
    films: dict[str, list[Film]],
    config: MistConfig,
    show: Any,
    *,
    trains_on: dict[str, Any],
) -> dict[str, Any]:
    """Return the figures of one recipe on each place, and on all ordinary footage together.

    Args:
        trains_on: places that the training takes as further normals, of which one at a time is left out.
    """
    shares: dict[str, list[float]] = {place: [] for place in films}
    alerts: dict[str, list[float]] = {place: [] for place in films}
    suggested = []
    known: dict[tuple[str | None, int], Trained] = {}
    total = (len(trains_on) or 1) * len(DIVISIONS)
    for place, of_place in films.items():
        for division in DIVISIONS:
            key = (place if place in trains_on else None, division)
            if key not in known:
                known[key] = trained(dataset, clips, config, division, without=key[0])
                show(len(known), total)
            models = known[key]
            suggested.append(models.alerting)
            shares[place].append(
                float(np.mean([share_above(generator, models, of_place) for generator in models.generators]))
            )
            alerts[place].append(
                float(np.mean([count_alerts(generator, models, of_place) for generator in models.generators]))
            )
    hours = {place: sum(one.hours for one in of_place) for place, of_place in films.items()}
    by_division = [sum(alerts[place][i] for place in films) / sum(hours.values()) for i in range(len(DIVISIONS))]
    return {
        "layers": list(config.layers),
        "kernels": sorted({one.kernel for one in suggested}),
        "open_thresholds": [f(one.open_threshold for one in suggested) for f in (min, max)],
        "places": {
            place: {
                "hours": round(hours[place], 4),
                "share_above": _mean_of(shares[place]),
                "alerts_per_hour": _mean_of([count / hours[place] for count in alerts[place]]),
            }
            for place in films
        },
        "hours": round(sum(hours.values()), 4),
        "alerts_per_hour": _mean_of(by_division),
    }


def trained(dataset: Dataset, clips: Clips, config: MistConfig, division: int, *, without: str | None) -> Trained:
    """Train the models of one division's folds without one place."""
    extra = dataset.extra(without)
    generators: list[Generator] = []
    logits: dict[int, ClipScores] = {}
    live_logits: dict[int, ClipScores] = {}
    as_live = [clips.narrowed(clips.footage.live(video)).features for video in dataset.videos]
    for fold in group_folds(dataset.videos, FOLDS, division):
        held = set(fold)
        train = [bag for i, bag in enumerate(dataset.bags) if i not in held]
        generators.append(train_generator([*train, *extra], config.recipe, SEED))
        logits |= {i: clip_logits(generators[-1], dataset.bags[i].features) for i in fold}
        live_logits |= {i: clip_logits(generators[-1], as_live[i]) for i in fold}
    of_videos = [logits[i] for i in range(len(dataset.videos))]
    calibration = fit_calibration(of_videos, dataset.labels)
    scores = [calibration(one) for one in of_videos]
    means = np.array([one.mean() for one in scores])
    live = [calibration(live_logits[i]) for i in range(len(dataset.videos))]
    alerting, _ = suggest_alerting(
        live, dataset.labels, dataset.groups, **config.alerting.model_dump(exclude={"chosen"})
    )
    normal = means[np.array(dataset.labels) == 0]
    return Trained(generators, calibration, threshold_of(normal, FALSE_POSITIVES), alerting)


def threshold_of(normal: npt.NDArray[np.floating[Any]], share: float) -> float:
    """Return the lowest of the scores that at most ``share`` of them exceed."""
    return float(np.sort(normal)[::-1][int(share * len(normal))])


def share_above(generator: Generator, models: Trained, films: Sequence[Film]) -> float:
    """Return the share of the films' pieces of two seconds whose mean score exceeds the threshold."""
    means = [
        mean
        for one in films
        for mean in means_of_pieces(one.training, models.calibration(clip_logits(generator, one.training.features)))
    ]
    return float((np.array(means) > models.threshold).mean())


def means_of_pieces(clips: OfClips, scores: npt.NDArray[np.float32]) -> list[float]:
    """Return the mean score of the clips that lie in each two seconds of a recording, where there are any."""
    begins = np.floor((clips.starts - clips.starts[0]) / SECONDS + 1e-6)
    fits = clips.ends - clips.starts[0] <= (begins + 1) * SECONDS + 1e-3
    pieces = sorted(set(zip(clips.segments[fits].tolist(), begins[fits].tolist(), strict=True)))
    return [float(scores[fits & (clips.segments == segment) & (begins == begin)].mean()) for segment, begin in pieces]


def count_alerts(generator: Generator, models: Trained, films: Sequence[Film]) -> int:
    """Return the number of alerts that a worker would raise on the films, at the suggested settings."""
    one = models.alerting
    served = ServedModel("fights", "1", ClipSpec(), one.open_threshold, one.close_threshold, one.kernel)
    settings = chain_settings(AlertTuning(), served, max_in_flight=1)
    return sum(
        alerts_of(film.live, models.calibration(clip_logits(generator, film.live.features)), settings) for film in films
    )


def alerts_of(clips: OfClips, scores: npt.NDArray[np.float32], settings: ChainSettings) -> int:
    """Return the number of alerts of one recording's scores."""
    chain = ScoreChain("bench", settings)
    transitions = []
    for segment in np.unique(clips.segments):
        own = np.flatnonzero(clips.segments == segment)
        for index, i in enumerate(own):
            place = (float(clips.starts[i]), float(clips.ends[i]), float(scores[i]))
            transitions += chain.score(ClipScore("bench", str(segment), index, *place, "fights", "1"))
        transitions += chain.end(SegmentEnd("bench", str(segment), len(own), "stream_end"))
    return sum(one.state is AlertState.BEGIN for one in transitions)


def _mean_of(values: Sequence[float]) -> dict[str, Any]:
    return {"value": round(float(np.mean(values)), 4), "by_division": [round(value, 4) for value in values]}


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    variants = results["variants"]
    verdicts = {True: "met", False: "**missed**"}
    places = variants[RECIPE.name]["places"]
    hours = variants[RECIPE.name]["hours"]
    lines = [
        "# Ordinary footage",
        "",
        f"{len(places)} places, {60 * hours:.0f} minutes in all, in which nothing abnormal is known to happen. Each is "
        f"scored by models that were trained without it, on {results['folds']} folds by film of the fights, in "
        f"{len(results['divisions'])} divisions. Recipe `{results['recipe']['name']}`. `bench/ordinary.py` writes this "
        "page.",
        "",
        f"Share of the pieces of {results['seconds']:g} s that exceed the threshold which "
        f"{results['false_positives']:.0%} of the fights' normal clips exceed out of fold. A piece's score is the mean "
        f"of the clips that lie in it, as a fight's is. Mean over the models, and over the divisions in brackets:",
        "",
        "| | " + " | ".join(places) + " |",
        "|---|" + "--:|" * len(places),
    ]
    for name, one in variants.items():
        cells = (_cell(one["places"][place]["share_above"], 2) for place in places)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    share = {place: variants[RECIPE.name]["places"][place]["share_above"]["value"] for place in results["asked_of"]}
    lines += [
        "",
        f"Target: at most {results['asked']:.2f} on "
        + " and on ".join(f"{place} ({verdicts[value <= results['asked']]})" for place, value in share.items())
        + ".",
        "",
        "Alerts per hour at the threshold and kernel that the same models' scores suggest, with the stride and the "
        "cooldown of live use:",
        "",
        "| | kernel | opens at | all | " + " | ".join(places) + " |",
        "|---|--:|--:|--:|" + "--:|" * len(places),
    ]
    for name, one in variants.items():
        low, high = one["open_thresholds"]
        cells = (_cell(one["places"][place]["alerts_per_hour"], 1) for place in places)
        lines.append(
            f"| {name} | {', '.join(map(str, one['kernels']))} | {low:g} to {high:g} | "
            f"**{one['alerts_per_hour']['value']:.1f}** | " + " | ".join(cells) + " |"
        )
    lines += [
        "",
        "The footage is short. One alert in "
        + ", ".join(
            f"{place} ({60 * one['hours']:.1f} min) is {1 / one['hours']:.0f} an hour" for place, one in places.items()
        )
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _cell(one: dict[str, Any], digits: int) -> str:
    low, high = min(one["by_division"]), max(one["by_division"])
    return f"{one['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
