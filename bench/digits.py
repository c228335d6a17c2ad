"""Unusual handwritten digits: the ten most unusual ones, and each digit held out as the anomaly.

    python bench/digits.py [--seeds 5]

writes bench/results/digits.json and .md, and docs/digits.webp: the picture of
`mistwatch train autoencoder --config configs/train/digits-autoencoder.yaml`. In the second part a digit is the anomaly,
and the methods learn half of the pictures of each of the other nine. They are judged on the other half of these and on
all pictures of the anomaly. All methods see the same pixels, divided by 16, and no label, which would give a digit away
that was never seen. The autoencoder has the recipe's settings; the others are scikit-learn's, with its defaults.
Nothing was tuned. A seed draws the halves, the network's first weights and the forest.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from recorded import record
from rich.console import Console
from rich.progress import track
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from models.data.digits import Digits, read_digits
from models.detectors.autoencoder.dense import Items, errors, train_dense
from models.detectors.autoencoder.digits_job import PICTURE_FILE, train_digits
from models.detectors.autoencoder.digits_recipe import DigitsRecipe
from models.jobs.recipes import read_recipe
from pipeline.errors import MistwatchError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PICTURE = ROOT / "docs" / "digits.webp"
RECIPE = ROOT / "configs" / "train" / "digits-autoencoder.yaml"

Scores = npt.NDArray[np.floating]  #: (n,), higher is more unusual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "digits", help="folder of the run")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds}: expected at least 2, for a spread")
    console = Console(stderr=True)
    digits, recipe = read_digits(), read_recipe(DigitsRecipe, RECIPE)
    try:
        trained = train_digits(recipe, options.kept, report=console.print)
        Image.open(trained.product / PICTURE_FILE).save(options.picture, lossless=True)
        found, seconds = held_out(digits, recipe, options.seeds, console)
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "recipe": recipe.model_dump(mode="json"),
        "number": len(digits.labels),
        "figures": trained.card.figures,
        "unusual": trained.unusual,
        "seeds": options.seeds,
        "held_out": found,
        "seconds_to_learn_and_judge": seconds,
    }
    record(options.results, "digits", results, page(results))
    print(page(results), end="")


def halves(labels: npt.NDArray[np.int64], digit: int, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the digits that are learned from, and those that are judged, bool (n,) each."""
    learned = np.zeros(len(labels), np.bool_)
    random = np.random.default_rng(seed)
    for other in range(10):
        if other != digit:
            of_it = np.flatnonzero(labels == other)
            learned[random.permutation(of_it)[: len(of_it) // 2]] = True
    return learned, ~learned


def held_out(
    digits: Digits, recipe: DigitsRecipe, seeds: int, console: Console
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Return the AUC of each method by digit, and its median seconds to learn and judge."""
    methods: dict[str, Callable[[Items, Items, int], Scores]] = {
        "autoencoder": lambda learned, judged, seed: of_autoencoder(learned, judged, recipe, seed),
        "local outlier factor": lambda learned, judged, _: (
            -LocalOutlierFactor(novelty=True).fit(learned).score_samples(judged)
        ),
        "isolation forest": lambda learned, judged, seed: (
            -IsolationForest(random_state=seed).fit(learned).score_samples(judged)
        ),
        "one-class SVM": lambda learned, judged, _: -OneClassSVM().fit(learned).score_samples(judged),
    }
    runs = [(digit, seed) for digit in range(10) for seed in range(seeds)]
    aucs: dict[str, list[list[float]]] = {name: [[] for _ in range(10)] for name in methods}
    took: dict[str, list[float]] = {name: [] for name in methods}
    for digit, seed in track(runs, console=console):
        learned, judged = halves(digits.labels, digit, seed)
        for name, method in methods.items():
            began = time.process_time()
            scores = method(digits.pixels[learned], digits.pixels[judged], seed)
            took[name].append(time.process_time() - began)
            aucs[name][digit].append(float(roc_auc_score(digits.labels[judged] == digit, scores)))
    summary = {name: [summarised(values) for values in by_digit] for name, by_digit in aucs.items()}
    return summary, {name: round(float(np.median(values)), 2) for name, values in took.items()}


def of_autoencoder(learned: Items, judged: Items, recipe: DigitsRecipe, seed: int) -> Scores:
    with tempfile.TemporaryDirectory() as folder:
        network, _ = train_dense(
            learned,
            recipe.sizes,
            epochs=recipe.epochs,
            batch=recipe.batch,
            learning_rate=recipe.learning_rate,
            seed=seed,
            file=Path(folder) / "last.pt",
        )
    return errors(network, judged)


def summarised(values: list[float]) -> dict[str, Any]:
    """Return the mean over seeds, and the spread: the standard deviation of single ones."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 4), "spread": round(spread, 4), "runs": [round(v, 4) for v in values]}


def over_digits(by_digit: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and spread over seeds of the mean over digits."""
    return summarised(np.mean([one["runs"] for one in by_digit], axis=0).tolist())


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    methods, recipe, seconds = results["held_out"], results["recipe"], results["seconds_to_learn_and_judge"]
    sizes = "–".join(map(str, recipe["sizes"]))
    lines = [
        "# Handwritten digits",
        "",
        f"scikit-learn's {results['number']} handwritten digits of 8 × 8 pixels. `bench/digits.py` writes this page.",
        "",
        "The ten most unusual ones of `mistwatch train autoencoder --config configs/train/digits-autoencoder.yaml`, by "
        "the error of their reconstruction from 8 values. The network has learned all of them, with the label as the "
        f"65th value. The median error is {results['figures']['median_error']:.4f}. `docs/digits.webp` shows each one "
        "beside its reconstruction:",
        "",
        "| rank | index | label | error |",
        "|--:|--:|--:|--:|",
        *(f"| {one['rank']} | {one['index']} | {one['label']} | {one['error']:.4f} |" for one in results["unusual"]),
        "",
        "AUC of each digit as the anomaly. The methods learn half of the pictures of each of the other nine digits. "
        "They are judged on the other half of these and on all pictures of the anomaly. All see the same 64 pixels. "
        "None sees the label, which would give a digit away that was never seen. "
        f"The autoencoder has the hidden layers {sizes}, mirrored, and the recipe's settings. The others are "
        "scikit-learn's with its defaults. Nothing was tuned. Mean and standard deviation over "
        f"{results['seeds']} seeds, which draw the halves, the network's first weights and the forest:",
        "",
        f"| digit | {' | '.join(methods)} |",
        f"|--:|{'--:|' * len(methods)}",
    ]
    for digit in range(10):
        best = max(methods, key=lambda name: methods[name][digit]["mean"])
        cells = [cell(methods[name][digit], best=name == best) for name in methods]
        lines.append(f"| {digit} | {' | '.join(cells)} |")
    means = {name: over_digits(by_digit) for name, by_digit in methods.items()}
    best = max(means, key=lambda name: means[name]["mean"])
    lines += [
        f"| mean | {' | '.join(cell(one, best=name == best) for name, one in means.items())} |",
        f"| s to learn and judge | {' | '.join(f'{seconds[name]:.2f}' for name in methods)} |",
    ]
    return "\n".join(lines) + "\n"


def cell(one: dict[str, Any], *, best: bool) -> str:
    mark = "**" if best else ""
    return f"{mark}{one['mean']:.3f}{mark} ± {one['spread']:.3f}"


if __name__ == "__main__":
    main()
