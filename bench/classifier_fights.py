"""Classify frames of the fights, with folds by film, beside MIST on clips.

    python bench/classifier_fights.py [--data ../shared/data/fights]

writes bench/results/classifier_fights.json and .md. The classifiers are those of `mistwatch train classifier`, with the
changes that the page names. Each frame is scored by a head that has not seen its film. A video's score is the mean of
its frames. Three divisions into folds, and intervals by films. Features are kept under runs/classifier-fights. A bench
that was stopped resumes there. MIST's figure is that of bench/fights_folds.py, on the same videos and other folds.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from recorded import record
from rich.console import Console
from rich.progress import Progress

from models.detectors.classifier.examples import ExampleSet
from models.detectors.classifier.job import train_classifier
from models.detectors.classifier.networks import CHANNELS, PooledHead
from models.detectors.classifier.recipe import ClassifierRecipe
from models.detectors.classifier.stages import features, folds, pictures
from models.detectors.classifier.stages.product import truth_of
from models.jobs.recipes import read_recipe
from models.jobs.stages import STAGE_FILE
from operators.figures.bootstrap import DRAWS, estimate
from operators.figures.videos import ScoredVideo
from pipeline.errors import MistwatchError
from pipeline.manifests.fights import fights

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "classifier-fights"
CHANGES = ("examples.layout=fights", "examples.fps=1.5", "augmentation.views=2")
BACKBONES = ("efficientnet-lite0", "vgg16")
DIVISIONS = 3
FIGURES = ["video_auc", "video_recall_at_2", "video_recall_at_5"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "fights")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of features and trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    options = parser.parse_args()
    try:
        videos = tuple(fights(options.data))
        with Progress(console=Console(stderr=True)) as bars:
            found = {
                name: judge(name, ExampleSet(options.data, "normal", (), videos), options.kept, bars)
                for name in options.backbones
            }
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    other = json.loads((RESULTS / "fights_folds.json").read_text())["methods"]["recipe"]
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "changes": CHANGES,
        "divisions": DIVISIONS,
        "videos": len(videos),
        "films": len({video.group for video in videos}),
        "classifiers": found,
        "mist": {name: other[name] for name in ("video_auc", "video_recall_at_5")},
        "cores": os.cpu_count(),
    }
    record(options.results, "classifier_fights", results, page(results))
    print(page(results), end="")


def judge(backbone: str, examples: ExampleSet, kept: Path, bars: Progress) -> dict[str, Any]:
    """Return the figures of a classifier on this backbone, out of fold."""
    recipe = read_recipe(
        ClassifierRecipe, ROOT / "configs" / "train" / "classifier.yaml", (*CHANGES, f"backbone={backbone}")
    )
    bar = bars.add_task(backbone)
    out = kept / backbone
    train_classifier(
        examples, recipe, out, progress=lambda _stage, done, total: bars.update(bar, completed=done, total=total)
    )
    _, rows = pictures.read(out / "pictures")
    read, classes = features.read(out / "features"), examples.classes
    truth, groups = truth_of(rows, range(len(rows)), classes), [row.group for row in rows]
    # Of these features and this recipe: others have divisions of their own.
    key = json.loads((out / "folds" / STAGE_FILE).read_text())["key"][:16]
    runs = []
    for division in range(DIVISIONS):
        place = out / "divisions" / key / str(division)
        if not (place / folds.FILE).exists():
            place.mkdir(parents=True, exist_ok=True)
            folds.compute(
                place,
                read,
                truth,
                groups,
                range(len(rows)),
                len(classes),
                lambda: PooledHead(CHANNELS[recipe.backbone], len(classes), recipe.head.dropout),
                recipe,
                division,
                lambda done, total: bars.update(bar, completed=done, total=total),
            )
        of_video = defaultdict(list)
        for row, probabilities in zip(rows, folds.read(place), strict=True):
            of_video[str(row.source), row.class_name, row.group].append(1 - probabilities[0])
        runs.append(
            [
                ScoredVideo(name, int(class_name != "normal"), float(np.mean(scores)), group=group)
                for (name, class_name, group), scores in of_video.items()
            ]
        )
    found = estimate(runs, names=FIGURES, by="group", draws=DRAWS)
    return {"frames": len(rows), **{name: one.summary() for name, one in found.items()}}


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Fights: a classifier on frames",
        "",
        f"{results['videos']} videos of {results['films']} films, folds by film, {results['divisions']} divisions; "
        f"`configs/train/classifier.yaml` with {', '.join(results['changes'])}. A video's score is the mean of its "
        "frames. MIST's figures are those of its recipe on other folds of the same films "
        "(`bench/fights_folds.py`). Intervals are of draws of films. `bench/classifier_fights.py` writes this page.",
        "",
        "| method | frames | video AUC | recall at 2 % false positives | recall at 5 % |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, found in results["classifiers"].items():
        figures = " | ".join(shown(found[figure]) for figure in FIGURES)
        lines.append(f"| classifier, {name} | {found['frames']} | {figures} |")
    mist = results["mist"]
    lines.append(
        f"| MIST, stage 1 with contrast | – | {by_film(mist['video_auc'])} | – | {by_film(mist['video_recall_at_5'])} |"
    )
    return "\n".join(lines) + "\n"


def shown(found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    return f"**{found['value']:.3f}** ({low:.3f} to {high:.3f})"


def by_film(found: dict[str, Any]) -> str:
    """Return a figure of bench/fights_folds.py with its interval over films."""
    low, high = found["interval_95_by_film"]
    return f"**{found['value']:.3f}** ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
