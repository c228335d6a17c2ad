"""The job that learns places and things from data sets with different labels.

    pictures ─► training ─► judging ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.code import code_digest
from models.jobs.errors import TrainingError
from models.jobs.stages import Done, Stages
from models.places.card import PlacesCard
from models.places.place_data import PlaceData, PlaceSources
from models.places.recipe import PlacesRecipe
from models.places.stages import judging, product, training
from models.places.trained import read_places_card
from models.places.training import number_of_steps
from models.places.tree import LabelTree

Progress = Callable[[str, int, int], None]  #: (stage, steps or pictures done, total)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        product: its folder.
    """

    product: Path
    card: PlacesCard


def train_places(
    sources: PlaceSources,
    recipe: PlacesRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        report: called with a line for each stage.
        progress: called with the stage's name, and its pictures or steps that are done and in all.

    Raises:
        TrainingError: data sets that do not fit to the label tree, a loss that is not finite, or a damaged checkpoint.
        MaskError, TreeError: a data set cannot be read, or has other labels than the label tree.
        StageError: another job is running in ``out``, or a folder there is not of a stage.
        models.backbones.weights.WeightsError: the backbone's weights are not in the cache.
        OSError: ``out`` cannot be written.
    """
    stages = Stages(out, report=report)

    def run(name: str, module: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        return stages.run(name, {"code": code_digest([module]), **inputs}, work)

    with stages.alone():
        rendered = stages.run(
            "pictures",
            sources.inputs,
            lambda draft: sources.prepare(draft, lambda done, total: progress("pictures", done, total)),
        )
        data = sources.read(rendered.folder)
        _check(data, recipe)
        tree = _plain(data.tree)
        steps = number_of_steps(recipe.optimisation, data.sets, recipe.shares)
        digests = {name: one.digest for name, one in sorted(data.sets.items())}
        first = run(
            "training",
            training.__name__,
            {"seed": seed, "tree": tree, "sets": digests, "recipe": recipe.settings()},
            lambda draft: training.compute(draft, data, recipe, seed, lambda done: progress("training", done, steps)),
        )
        learner, history = training.read(first.folder, recipe, data.tree)
        judged = data.judged
        second = run(
            "judging",
            judging.__name__,
            {"training": first.digest, "judged": judged.digest if judged else None, "tree": tree},
            lambda draft: judging.compute(
                draft,
                learner,
                data,
                recipe.views.size,
                lambda done: progress("judging", done, len(judged) if judged else 0),
            ),
        )
        figures = judging.read(second.folder)
        last = run(
            "product",
            product.__name__,
            {
                "training": first.digest,
                "judging": second.digest,
                "seed": seed,
                "recipe": recipe.model_dump(mode="json"),
                "judged": data.judged_in_words,
            },
            lambda draft: product.compute(draft, learner, history, second.folder, figures, data, recipe, seed),
        )
    return Outcome(last.folder, read_places_card(last.folder))


def _plain(tree: LabelTree) -> dict[str, Any]:
    data_sets = {name: one.model_dump(mode="json") for name, one in tree.data_sets.items()}
    return {"classifiers": tree.classifiers, "data_sets": data_sets, "things": sorted(tree.things)}


def _check(data: PlaceData, recipe: PlacesRecipe) -> None:
    """Check that the data sets are those of the label tree and of the batch.

    Raises:
        TrainingError: they are not; a line for each problem.
    """
    tree, problems = data.tree, []
    for name, labels in tree.data_sets.items():
        if name not in data.sets:
            problems.append(f"data set {name}: the label tree needs its pictures; expected it among data.sets")
        elif name not in recipe.shares:
            problems.append(f"data set {name}: has no share of a batch; expected it among shares")
        elif not len(data.sets[name]):
            problems.append(f"data set {name}: has no pictures; expected at least one")
        elif data.sets[name].of_boxes != (labels.annotation == "boxes"):
            problems.append(f"data set {name}: its pictures do not have the annotation {labels.annotation} of the tree")
    problems += [
        f"data set {name}: unknown to the label tree; expected one of {', '.join(tree.data_sets)}"
        for name in [*data.sets, *recipe.shares]
        if name not in tree.data_sets
    ]
    if data.judged is not None and not len(data.judged):
        problems.append("judged: has no pictures; expected at least one, or no data.judged")
    if problems:
        raise TrainingError("\n".join(dict.fromkeys(problems)))
