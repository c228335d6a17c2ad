"""``mistwatch train classifier``: from labelled pictures to a detector that can be served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from models.detectors.classifier.examples import ExampleSet
    from models.detectors.classifier.job import Outcome
    from models.detectors.classifier.recipe import ClassifierRecipe


def classifier(
    config: Annotated[Path, typer.Option(help="Recipe, like configs/train/classifier.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the model is in DIR/product.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|MANIFEST",
            help="Folder with a folder of pictures for each class: normal/, and anomaly/ or others; or a data set of "
            "videos in the layout that the recipe names, or a manifest.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: head.epochs=20. Repeatable."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pictures that cannot be used.")] = False,
) -> None:
    """Train a classifier of pictures: pictures → features → folds → head → product.

    Its convolutions were trained on ImageNet, and only a head is trained, so twenty pictures of each class are a start.
    DIR/report.html has the figures, the confusion matrix and the worst mistakes. Stages that are up to date are not run
    again, and a killed run continues. Then: mistwatch export --model DIR/product.
    """
    import jinja2  # noqa: F401 - missing, it is reported now and not after the training

    from models.detectors.classifier.recipe import ClassifierRecipe
    from models.jobs.recipes import read_recipe
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing

    recipe = read_recipe(ClassifierRecipe, config, changes or ())
    left_out: list[str] = []
    notes: list[str] = []
    examples = _examples(recipe, config, data, left_out if skip_bad else None, notes)
    for line in (*(f"left out: {line}" for line in left_out), *notes):
        typer.echo(printable(line), err=True)

    from models.detectors.classifier.job import train_classifier
    from models.jobs.memory import keep_freed_memory

    keep_freed_memory()
    with progress_bars() as show, writing(out):
        outcome = train_classifier(
            examples,
            recipe,
            out,
            seed=seed,
            skip_bad=skip_bad,
            report=lambda line: typer.echo(printable(line), err=True),
            progress=show,
        )
        page = out / "report.html"
        _write_page(page, outcome, examples)
    _print(outcome, page)


def _examples(
    recipe: ClassifierRecipe, config: Path, data: Path | None, skipped: list[str] | None, notes: list[str]
) -> ExampleSet:
    """Return the labelled pictures, from the place that the command or the recipe names."""
    from models.detectors.classifier.examples import (
        ANOMALY,
        ExampleSet,
        check_class_name,
        check_labels,
        read_class_folders,
    )
    from pipeline.manifests.layouts import read_layout
    from pipeline.manifests.manifest import MANIFEST, read_manifest

    choice = recipe.examples
    folder = data or choice.folder
    if folder is None:
        raise UsageError(f"{config} does not say where its pictures are: name their folder or a manifest with --data")
    check_class_name(choice.normal, "examples.normal")
    if choice.normal == ANOMALY:
        raise UsageError(f"examples.normal: {ANOMALY} is the name of the other class; choose another name")
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder" + (f"; {choice.obtain}" if choice.obtain else ""))
    if folder.is_dir() and choice.layout == "pictures" and not (folder / MANIFEST).is_file():
        return read_class_folders(folder, choice.normal, skipped=skipped, notes=notes)
    if folder.is_dir():
        layout = "manifest" if choice.layout == "pictures" else choice.layout
        root, videos = folder, read_layout(layout, folder, skipped=skipped, notes=notes)
    else:
        root, videos = folder.parent, read_manifest(folder, skipped=skipped)
    check_labels(videos, str(folder))
    return ExampleSet(root.resolve(), choice.normal, videos=tuple(videos))


def _write_page(page: Path, outcome: Outcome, examples: ExampleSet) -> None:
    import numpy as np

    from pipeline.evaluation.classes_page import Mistake, write_classes

    card = outcome.card
    write_classes(
        page,
        name=card.name,
        classes=card.architecture.classes,
        parts={part: card.figures[part] for part in ("out_of_fold", "test") if part in card.figures},
        seen=card.clip.spec.frame_spec,
        mistakes=[
            Mistake(
                name=one["name"],
                source=examples.videos[one["source"]] if examples.videos else examples.files[one["source"]].path,
                frame=one["frame"],
                class_name=one["class"],
                called=one["called"],
                probability=one["probabilities"][one["class"]],
                heat=np.array(one["heat"], np.float32),
            )
            for one in outcome.mistakes
        ],
    )


def _print(outcome: Outcome, page: Path) -> None:
    card = outcome.card
    numbers = ", ".join(f"{number} {name}" for name, number in card.training["pictures"].items())
    lines = [f"trained on {numbers} pictures of {card.training['groups']} groups"]
    lines += [_figures_line(part, card.figures[part]) for part in ("out_of_fold", "test") if part in card.figures]
    lines += [
        f"alerts open at {card.alerting.open_threshold:g} and close below {card.alerting.close_threshold:g}; a "
        "threshold for a budget of false alarms: mistwatch calibrate",
        f"{page}: figures, confusion matrix and the worst mistakes",
        f"{outcome.product}: the model; next: mistwatch export --model {outcome.product}",
    ]
    for line in lines:
        typer.echo(printable(line))


def _figures_line(part: str, found: dict[str, Any]) -> str:
    words = []
    for name in ("auc", "accuracy", "precision", "recall"):
        figure = found[name]
        if figure["value"] is not None:
            low, high = figure["interval_95"]
            words.append(f"{name} {figure['value']:.3f} ({low:.3f} to {high:.3f})")
    return f"{part.replace('_', ' ')}, {found['pictures']} pictures: {', '.join(words)}"
