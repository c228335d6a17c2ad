"""``mistwatch train places``: a network that finds places and things in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.places.card import PlacesCard


def places(
    config: Annotated[Path, typer.Option(help="Recipe, like configs/train/places-courtyard.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the result is in DIR/product.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to which the folders of the recipe's data sets are relative."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: optimisation.steps=900. Repeatable."),
    ] = None,
) -> None:
    """Learn the classes of pixels from data sets with different labels, of masks and of boxes.

    pictures → training → judging → product. A label tree says what the labels of the data sets mean. With kind: flat
    one softmax over all classes is trained instead, for a comparison.

    Stages that are up to date are not run again, and a killed run continues. Learning curves: tensorboard --logdir DIR.
    """
    from models.jobs.recipes import read_recipe
    from models.places.job import train_places
    from models.places.recipe import PlacesRecipe
    from models.places.recipe_sources import RecipeSources
    from models.places.stages.product import PAGE_FILE
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing
    from pipeline.printable import printable

    recipe = read_recipe(PlacesRecipe, config, changes or ())
    sources = RecipeSources(recipe.data, data or Path())
    with progress_bars() as show, writing(out):
        outcome = train_places(
            sources, recipe, out, seed=seed, report=lambda line: typer.echo(printable(line), err=True), progress=show
        )
    for line in _lines(outcome.card):
        typer.echo(printable(line))
    typer.echo(printable(f"{outcome.product / PAGE_FILE}: the figures of each class, and judged pictures"))


def _lines(card: PlacesCard) -> list[str]:
    """Return the result in words."""
    pictures = ", ".join(f"{number} of {name}" for name, number in card.training["pictures"].items())
    lines = [f"{card.name}: a {card.kind} network, {card.training['steps']} steps, pictures: {pictures}"]
    if not card.figures:
        return [*lines, "no figures: the recipe names no judged pictures"]
    for level in card.figures["levels"]:
        lines += [f"level {level['level']}, {len(level['classes'])} classes: {_means(level)}"]
    if boxed := card.figures["only_boxed"]:
        lines += [f"{len(boxed['classes'])} classes that only boxes supervise: {_means(boxed)}"]
    return lines


def _means(found: dict[str, Any]) -> str:
    accuracy, iou = (
        "not defined" if value is None else f"{value:.3f}" for value in (found["mean_accuracy"], found["mean_iou"])
    )
    return f"mean accuracy {accuracy}, mean IoU {iou}"
