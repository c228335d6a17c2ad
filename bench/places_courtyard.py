"""Compare the hierarchical network with the flat one on the courtyard's three data sets.

    python bench/places_courtyard.py [--seeds 5]

writes bench/results/places_courtyard.json and .md. Both kinds have the recipe configs/train/places-courtyard.yaml, with
fewer pictures and steps than the committed model: the same backbone, pictures and batches. A seed draws the first
weights, the order of the pictures and their views. Boxes are painted as masks for the flat network, which decides by
the paper's protocol: a pixel of a subclass is right if its subclass comes first, or if the class above comes first and
the subclass second. A third row is more generous to it: where the class above comes first, the best class below
decides. All are judged on dense masks of days with other seeds than those by which the recipe's settings were chosen.
The interval of a difference is Student's t over the seeds, whose trainings are paired. Trained runs are kept, so a
stopped bench continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.stats import t as student
from torch import Tensor, nn

from models.jobs.memory import keep_freed_memory
from models.jobs.recipes import read_recipe
from models.places.flat import FlatClasses
from models.places.job import train_places
from models.places.judging import count_pixels, figures_by_level
from models.places.place_data import PlaceData
from models.places.recipe import PlacesRecipe
from models.places.recipe_sources import RecipeSources
from models.places.stages import training
from models.places.tree import LabelTree
from pipeline.errors import MistwatchError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "places-bench"
RECIPE = ROOT / "configs" / "train" / "places-courtyard.yaml"
#: Reserved for this bench. The recipe names the days on which its settings were chosen.
FIRST_JUDGED, JUDGED_DAYS = 35000, 20
#: Ten trainings should take less than an hour of one core.
CHANGES = (
    "optimisation.steps=500",
    "data.sets.coarse.days=30",
    "data.sets.boxes.days=60",
    f"data.judged.first_seed={FIRST_JUDGED}",
    f"data.judged.days={JUDGED_DAYS}",
)
LEVEL = 0.95

HIERARCHICAL, FLAT, GENEROUS = "hierarchical", "flat", "flat, best class below"
FIGURES = ("mean_accuracy", "mean_iou")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the pictures and the trained networks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of places_courtyard.json and .md")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds}: expected at least 2, for an interval")
    keep_freed_memory()
    recipe = read_recipe(PlacesRecipe, RECIPE, CHANGES)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as bars:
            rendered = Rendered(recipe, options.kept, bars)
            runs = [judged(rendered, recipe, seed, options.kept, bars) for seed in range(options.seeds)]
    except MistwatchError as error:
        parser.exit(error.exit_status, f"{parser.prog}: {error}\n")
    results = {
        "steps": recipe.optimisation.steps,
        "pictures": {name: len(one) for name, one in rendered.data.sets.items()},
        "judged": rendered.data.judged_in_words,
        "classes": list(runs[0][HIERARCHICAL]["only_boxed"]["classes"]),
        "seeds": options.seeds,
        "level": LEVEL,
        "kinds": {kind: summary([run[kind] for run in runs]) for kind in (HIERARCHICAL, FLAT, GENEROUS)},
        "differences": {
            other: {figure: difference(runs, other, figure) for figure in FIGURES} for other in (FLAT, GENEROUS)
        },
    }
    record(options.results, "places_courtyard", results, page(results))
    print(page(results), end="")


class Rendered:
    """The recipe's data sets, rendered once for all trainings."""

    def __init__(self, recipe: PlacesRecipe, folder: Path, bars: Progress) -> None:
        sources = RecipeSources(recipe.data, ROOT)
        self.inputs = sources.inputs
        task = bars.add_task("pictures")
        sources.prepare(folder / "pictures", lambda done, total: bars.update(task, completed=done, total=total))
        self.data: PlaceData = sources.read(folder / "pictures")

    def prepare(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Leave the stage of each training empty."""

    def read(self, folder: Path) -> PlaceData:
        """Return the data sets, which are in memory."""
        return self.data


class BestBelow:
    """A flat network's decision in favour of subclasses: the best class below an inner node that comes first."""

    def __init__(self, network: nn.Module, tree: LabelTree) -> None:
        self.network = network
        names = FlatClasses(tree).names
        self._nodes = torch.tensor([tree.index[name] for name in names])
        # Each class may stay, or go on to a class below it. An inner node goes on.
        self._goes_on = torch.tensor(
            [[name in tree.path(other)[:-1] for other in names] for name in names]
        ) | torch.diag(torch.tensor([name not in tree.classifiers for name in names]))

    def decide(self, pictures: Tensor) -> Tensor:
        """Return the node of each pixel: uint8 (B, H, W, 3) → int64 (B, H, W)."""
        with torch.inference_mode():
            logits = self.network(pictures)
            allowed = self._goes_on[logits.argmax(1)].movedim(-1, 1)
            return self._nodes[logits.masked_fill(~allowed, -torch.inf).argmax(1)]


def judged(rendered: Rendered, recipe: PlacesRecipe, seed: int, kept: Path, bars: Progress) -> dict[str, Any]:
    """Train both kinds with a seed, and return the figures of each decision."""
    found: dict[str, Any] = {}
    for kind in (HIERARCHICAL, FLAT):
        own = recipe.model_copy(update={"kind": kind})
        out = kept / f"{kind}-{seed}"
        task = bars.add_task(f"seed {seed}, {kind}")

        def show(_stage: str, done: int, total: int, task: Any = task) -> None:
            bars.update(task, completed=done, total=total)

        found[kind] = train_places(rendered, own, out, seed=seed, progress=show).card.figures
        if kind == FLAT:
            tree, pictures = rendered.data.tree, rendered.data.judged
            assert pictures is not None  # the recipe names them
            network = training.read(out / "training", own, tree)[0].network
            counts = count_pixels(BestBelow(network, tree), tree, pictures, own.views.size)
            found[GENEROUS] = figures_by_level(tree, counts)
    return found


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean figures of the runs, and those of each run of the classes that only boxes supervise."""
    boxed = {figure: [run["only_boxed"][figure] for run in runs] for figure in FIGURES}
    levels = []
    for at, level in enumerate(runs[0]["levels"]):
        own = [run["levels"][at] for run in runs]
        classes = {
            name: {figure: mean([one["classes"][name][figure] for one in own]) for figure in ("accuracy", "iou")}
            for name in level["classes"]
        }
        means = {figure: mean([one[figure] for one in own]) for figure in FIGURES}
        levels.append({"level": level["level"], **means, "classes": classes})
    return {
        "only_boxed": {figure: {"value": mean(values), "runs": values} for figure, values in boxed.items()},
        "levels": levels,
    }


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean with four digits; None where no run defines the figure."""
    defined = [value for value in values if value is not None]
    return round(float(np.mean(defined)), 4) if defined else None


def difference(runs: Sequence[Mapping[str, Any]], other: str, figure: str) -> dict[str, float]:
    """Return how far the hierarchical network is above another one, with Student's interval over the seeds."""
    gains = np.array([run[HIERARCHICAL]["only_boxed"][figure] - run[other]["only_boxed"][figure] for run in runs])
    half = float(student.ppf((1 + LEVEL) / 2, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
    value = float(gains.mean())
    return {"value": round(value, 4), "low": round(value - half, 4), "high": round(value + half, 4)}


def page(results: Mapping[str, Any]) -> str:
    """Write the results as Markdown."""
    pictures = ", ".join(f"{number} of {name}" for name, number in results["pictures"].items())
    lines = [
        "# Hierarchical and flat classifiers on the courtyard",
        "",
        f"{results['steps']} steps on pictures of three data sets ({pictures}), {results['seeds']} seeds.",
        f"Judged: {results['judged']}, which no training and no choice used. Figures are means over the seeds.",
        "",
        f"## Classes that only boxes supervise: {', '.join(results['classes'])}",
        "",
        "| | mean accuracy | mean IoU |",
        "|---|--:|--:|",
    ]
    for kind, found in results["kinds"].items():
        lines.append(f"| {kind} | {_runs(found, 'mean_accuracy')} | {_runs(found, 'mean_iou')} |")
    for other, found in results["differences"].items():
        accuracy, iou = (_interval(found[figure]) for figure in FIGURES)
        lines.append(f"| {HIERARCHICAL} minus {other} | {accuracy} | {iou} |")
    lines += [
        "",
        f"In brackets: the lowest and the highest run; of differences, the {results['level']:.0%} interval over seeds.",
    ]
    first = results["kinds"][HIERARCHICAL]["levels"]
    for at, level in enumerate(first):
        kinds = [found["levels"][at] for found in results["kinds"].values()]
        lines += [
            "",
            f"## Level {level['level']}: accuracy and IoU",
            "",
            f"| | {' | '.join(results['kinds'])} |",
            f"|---|{'--:|' * len(kinds)}",
        ]
        for name in level["classes"]:
            cells = [f"{_shown(one['classes'][name][key])}" for one in kinds for key in ("accuracy", "iou")]
            pairs = [f"{cells[at]}, {cells[at + 1]}" for at in range(0, len(cells), 2)]
            lines.append(f"| {name} | {' | '.join(pairs)} |")
        means = [f"{_shown(one['mean_accuracy'])}, {_shown(one['mean_iou'])}" for one in kinds]
        lines.append(f"| mean | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


def _runs(found: Mapping[str, Any], figure: str) -> str:
    own = found["only_boxed"][figure]
    return f"{own['value']:.3f} ({min(own['runs']):.3f} to {max(own['runs']):.3f})"


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
