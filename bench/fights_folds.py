"""Measure stage 1 on the fights set: five folds by source film, three divisions, and the committed weights.

    python bench/fights_folds.py --data ../shared/data/fights [--seeds 2]

writes bench/results/fights_folds.json and .md. The recipe (configs/train/fights.yaml) is compared with stage 1 of 0.2.0
and with itself without each of its parts. The committed weights are judged on the films that they never saw. Features
come from the user's cache or are computed (for all recipes two hours on two cores, with the mirror images and the
ordinary footage).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fight_variants import BEFORE, RECIPE, REVERTED, ROOT, Clips, Dataset, Variant, Work, different, recipe_parser
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.card import BUILT_IN, Alerting
from models.data.extraction import FeaturesError
from models.detectors.mist.card import MistCard
from models.detectors.mist.config import MistConfig
from models.detectors.mist.generator import Generator, load_generator
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.generator_scoring import clip_scores
from models.detectors.mist.generator_training import train_generator
from models.detectors.mist.stages.labels import out_of_fold_logits
from models.jobs.calibration import ClipScores, calibrated_scores
from models.jobs.errors import ConfigError, TrainingError
from models.jobs.thresholds import peaks_as_live
from operators.figures.bootstrap import DRAWS, Run, compare, estimate
from operators.figures.videos import scored_video
from pipeline.manifests.fights import fights
from pipeline.manifests.folds import group_folds
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.ordinary import ordinary_footage

RESULTS = ROOT / "bench" / "results"
FOLDS = 5
DIVISIONS = (0, 1, 2)  #: seeds of the divisions; with 36 films, the division matters more than the training's seed
SEEDS = 2
FIGURES = ("video_auc", "video_recall_at_5")
ASKED = {"video_auc": 0.93, "video_recall_at_5": 0.70}


def main() -> None:
    parser = recipe_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trainings of each division")
    parser.add_argument("--model", type=Path, default=BUILT_IN / "fights", help="folder of the weights to judge, too")
    parser.add_argument("--only", action="store_true", help="compare with 0.2.0 alone, and revert nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of fights_folds.json and .md")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        config = RECIPE.config(options.config, options.set)
        reverted = [] if options.only else different(REVERTED, options.config, options.set)
        videos = fights(options.data)
        extra = config.extra_normals
        ordinary = ordinary_footage(extra.footage) if extra is not None else []
        with Progress(*columns, console=Console(stderr=True)) as bars:
            work = Work(bars)
            variants = {one: one.config(options.config, options.set) for one in (RECIPE, BEFORE, *reverted)}
            datasets = {
                one: Clips(changed, config).dataset(videos, ordinary, work(f"features, {one.name}"))
                for one, changed in variants.items()
            }
            usable = in_all(list(datasets.values()))
            runs = {
                one.name: out_of_fold(datasets[one].only(usable), changed.recipe, options.seeds, work(one.name))
                for one, changed in variants.items()
            }
            known = [video for video in videos if video.path in usable]
            held_out = committed(options.model, known, ordinary, config, variants[BEFORE], options.seeds)
    except (ConfigError, ManifestError, FeaturesError, TrainingError) as error:
        parser.exit(1, "".join(f"{parser.prog}: {line}\n" for line in str(error).splitlines()))
    results = figures(runs, config, list(variants), options.seeds) | {
        "too_short": sorted(video.path.name for video in videos if video.path not in usable),
        "committed": held_out,
    }
    record(options.results, "fights_folds", results, page(results))
    print(page(results), end="")


def in_all(datasets: Sequence[Dataset]) -> set[Path]:
    """Return the videos that have a clip in every data set: pairs of recipes are compared on the same videos."""
    return set.intersection(*({video.path for video in one.videos} for one in datasets))


def out_of_fold(dataset: Dataset, recipe: Recipe, seeds: int, show: Any) -> list[Run]:
    """Return all videos, scored by generators that had not seen their film: a run for each division and seed.

    The logits of a run are calibrated on all its folds, as in the training job.
    """
    runs = []
    for division in DIVISIONS:
        divided = group_folds(dataset.videos, FOLDS, division)
        for seed in range(seeds):
            logits = out_of_fold_logits(dataset.bags, divided, recipe, seed, extra=dataset.extra())
            runs.append(scored(dataset.videos, calibrated_scores(logits, dataset.labels)))
            show(len(runs), seeds * len(DIVISIONS))
    return runs


def scored(videos: Sequence[Video], scores: Sequence[ClipScores]) -> Run:
    """Return videos with their scores: each the mean of its clips' scores."""
    return [
        scored_video(video.path.name, video.label, clips, group=video.group)
        for video, clips in zip(videos, scores, strict=True)
    ]


def figures(
    runs: dict[str, list[Run]], config: MistConfig, variants: Sequence[Variant], seeds: int, draws: int = DRAWS
) -> dict[str, Any]:
    """Return the figures for the JSON file, and paired differences, with intervals over videos and over films."""
    videos = runs[RECIPE.name][0]
    methods = {}
    for variant in variants:
        found = judged(runs[variant.name], draws)
        for name in FIGURES:
            each = found[name]["runs"]
            found[name]["by_division"] = [
                round(float(np.mean(each[at : at + seeds])), 4) for at in range(0, len(each), seeds)
            ]
        methods[variant.name] = {"changes": list(variant.changes), **found}
        for less in (BEFORE.name, RECIPE.name):
            if less != variant.name:
                methods[variant.name][f"less {less}"] = differences(runs[variant.name], runs[less], draws)
    return {
        "recipe": config.model_dump(mode="json", exclude={"data", "sees", "does_not_see", "description"}),
        "videos": len(videos),
        "abnormal_videos": sum(video.label for video in videos),
        "films": len({video.group for video in videos}),
        "folds": FOLDS,
        "divisions": list(DIVISIONS),
        "seeds": seeds,
        "draws": draws,
        "asked": ASKED,
        "methods": methods,
    }


def judged(runs: Sequence[Run], draws: int) -> dict[str, Any]:
    """Return each figure with its intervals, drawn by video and by film."""
    found = {name: one.summary() for name, one in estimate(runs, names=FIGURES, draws=draws).items()}
    for name, one in estimate(runs, names=FIGURES, by="group", draws=draws).items():
        found[name]["interval_95_by_film"] = one.summary()["interval_95"]
        found[name].setdefault("runs", [found[name]["value"]])
    return found


def differences(first: Sequence[Run], second: Sequence[Run], draws: int) -> dict[str, Any]:
    """Return how much higher each figure of ``first`` is, with intervals of paired draws."""
    units = {"by film": "group", "by video": "video"}
    by_unit = {name: compare(first, second, names=FIGURES, by=by, draws=draws) for name, by in units.items()}
    return {name: {unit: found[name].summary() for unit, found in by_unit.items()} for name in FIGURES}


def committed(
    model: Path,
    videos: Sequence[Video],
    ordinary: Sequence[Video],
    config: MistConfig,
    former: MistConfig,
    seeds: int,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Judge weights on the clips of the films that they never saw, beside stage 1 of 0.2.0 trained on the other films.

    The weights read the clips that their card describes, cut as the recipe trains.
    """
    generator, card = load_generator(model)
    if not card.held_out_sources:
        raise TrainingError(f"{model}: the card names no held_out_sources; train with videos.hold_out")
    test = [video for video in videos if video.group in card.held_out_sources]
    own = config.model_copy(
        update={
            "clip": card.clip,
            "layers": card.backbone.layers,
            "contrast": card.contrast,
            "extra_normals": None,
            "mirrored": False,
        }
    )
    clips = Clips(own, config.model_copy(update={"mirrored": False}))
    dataset = clips.dataset(test, [], lambda *_: None)
    clips.fill([], [], lambda *_: None, live=dataset.videos)
    live = [clip_scores(generator, clips.narrowed(clips.footage.live(video)).features) for video in dataset.videos]
    scores = [clip_scores(generator, bag.features) for bag in dataset.bags]
    run = scored(dataset.videos, scores)
    before = retrained(videos, ordinary, former, card, seeds)
    return {
        "name": card.name,
        "weights_sha256": card.weights_sha256,
        "held_out_sources": card.held_out_sources,
        "videos": len(run),
        "abnormal_videos": sum(video.label for video in run),
        **judged([run], draws),
        BEFORE.name: judged(before, draws),
        f"less {BEFORE.name}": differences([run], before, draws),
        "alerting": card.alerting.model_dump(),
        **reached(live, dataset, card.alerting),
    }


def retrained(
    videos: Sequence[Video], ordinary: Sequence[Video], config: MistConfig, card: MistCard, seeds: int
) -> list[Run]:
    """Return the held-out films scored by another recipe's generators, a run for each seed."""
    dataset = Clips(config, config).dataset(videos, ordinary, lambda *_: None)
    held = [i for i, group in enumerate(dataset.groups) if group in card.held_out_sources]
    test, train = dataset.part(held), dataset.part(sorted(set(range(len(dataset.videos))) - set(held)))
    generators = [train_generator([*train.bags, *train.extra()], config.recipe, seed) for seed in range(seeds)]
    return [scored(test.videos, [_scores(generator, bag) for bag in test.bags]) for generator in generators]


def _scores(generator: Generator, bag: Any) -> ClipScores:
    return clip_scores(generator, bag.features)


def reached(live: Sequence[ClipScores], test: Dataset, alerting: Alerting) -> dict[str, float]:
    """Return the shares of fights and normal clips that reach the suggested threshold, cut and smoothed as live."""
    peaks = peaks_as_live(live, test.labels, test.groups, alerting.kernel)
    above, labels = peaks >= alerting.open_threshold, np.array(test.labels)
    return {
        "recall_at_open_threshold": round(float(above[labels == 1].mean()), 4),
        "false_alarms_at_open_threshold": round(float(above[labels == 0].mean()), 4),
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    asked, less_before = results["asked"], f"less {BEFORE.name}"
    short = ", ".join(results["too_short"])
    left_out = f". Too short for a clip of one of the recipes, and left out: {short}" if short else ""
    lines = [
        "# Fights: stage 1 out of fold",
        "",
        f"{results['videos']} clips ({results['abnormal_videos']} fights) from {results['films']} films; "
        f"{results['folds']} folds by film, {len(results['divisions'])} divisions (seeds "
        f"{', '.join(map(str, results['divisions']))}), {results['seeds']} trainings of each. No film is in both "
        f"training and test{left_out}. Recipe `{results['recipe']['name']}`; in the other rows one part of it is "
        "reverted. A video's score is the mean of its clips' scores. `bench/fights_folds.py` writes this page.",
        "",
        "| | video AUC by division | mean | 95 % interval, by film | recall at 5 % false positives, by division | mean "
        "| 95 % interval, by film |",
        "|---|---|--:|--:|---|--:|--:|",
    ]
    for name, method in results["methods"].items():
        auc, recall = method["video_auc"], method["video_recall_at_5"]
        lines.append(
            f"| {name} | {', '.join(f'{value:.3f}' for value in auc['by_division'])} | **{auc['value']:.3f}** | "
            f"{_between(auc['interval_95_by_film'])} | {', '.join(f'{value:.2f}' for value in recall['by_division'])} "
            f"| **{recall['value']:.2f}** | {_between(recall['interval_95_by_film'], 2)} |"
        )
    lines += [
        "",
        "| difference | video AUC | 95 % interval, by film | by video | recall | 95 % interval, by film |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, method in results["methods"].items():
        if name != BEFORE.name:
            less = BEFORE.name if name == RECIPE.name else RECIPE.name
            lines.append(_difference(f"{name} less {less}", method[f"less {less}"]))
    verdicts = {True: "met", False: "**missed**"}
    recipe = results["methods"][RECIPE.name]
    gain = recipe[less_before]["video_auc"]["by film"]
    lines += [
        "",
        f"Targets: a video AUC of at least {asked['video_auc']:.2f} "
        f"({verdicts[recipe['video_auc']['value'] >= asked['video_auc']]}), recall at 5 % false positives of at least "
        f"{asked['video_recall_at_5']:.2f} "
        f"({verdicts[recipe['video_recall_at_5']['value'] >= asked['video_recall_at_5']]}), better than {BEFORE.name} "
        f"by an interval, drawn by film, above 0 ({verdicts[gain['interval_95'][0] > 0]}). Intervals: percentile "
        f"bootstrap, {results['draws']} draws, the same for all divisions and seeds and for both members of a pair. "
        "Clips of one film resemble each other, so the intervals drawn by film are the more honest ones. The recipe "
        "was chosen on such folds of the same films; about 100 variants shared them, so allow 0.005 of optimism.",
        "",
        *_held_out(results["committed"]),
    ]
    return "\n".join(lines) + "\n"


def _held_out(held: dict[str, Any]) -> list[str]:
    before, less = held[BEFORE.name], held[f"less {BEFORE.name}"]
    rows = [
        f"| {name} | **{one['video_auc']['value']:.3f}** | {_between(one['video_auc']['interval_95_by_film'])} | "
        f"{_between(one['video_auc']['interval_95'])} | **{one['video_recall_at_5']['value']:.2f}** | "
        f"{_between(one['video_recall_at_5']['interval_95_by_film'], 2)} |"
        for name, one in ((f"committed `{held['name']}`", held), (f"{BEFORE.name}, same training films", before))
    ]
    auc = less["video_auc"]
    return [
        f"The committed weights (`{held['weights_sha256'][:12]}`) on the {held['videos']} clips "
        f"({held['abnormal_videos']} fights) of the {len(held['held_out_sources'])} films that they never saw "
        f"({', '.join(held['held_out_sources'])}):",
        "",
        "| | video AUC | 95 % interval, by film | by video | recall at 5 % false positives | 95 % interval, by film |",
        "|---|--:|--:|--:|--:|--:|",
        *rows,
        "",
        f"The difference is {auc['by film']['value']:+.3f} in video AUC ({_between(auc['by film']['interval_95'])} by "
        f"film, {_between(auc['by video']['interval_95'])} by video). {held['recall_at_open_threshold']:.0%} of the "
        f"fights and {held['false_alarms_at_open_threshold']:.0%} of the normal clips reach the suggested threshold "
        f"{held['alerting']['open_threshold']} (kernel {held['alerting']['kernel']}, live stride). These weights were "
        "not trained on these films, but the idea of contrast was found on folds that held them. So the figures are "
        "no blind test of it.",
    ]


def _difference(name: str, found: dict[str, Any]) -> str:
    auc, recall = found["video_auc"], found["video_recall_at_5"]["by film"]
    return (
        f"| {name} | {auc['by film']['value']:+.3f} | {_between(auc['by film']['interval_95'])} | "
        f"{_between(auc['by video']['interval_95'])} | {recall['value']:+.2f} | {_between(recall['interval_95'], 2)} |"
    )


def _between(interval: Sequence[float], digits: int = 3) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


if __name__ == "__main__":
    main()
