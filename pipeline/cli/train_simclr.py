"""``mistwatch train simclr``: an embedding and clusters of pictures, learned without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.alike.card import AlikeCard


def simclr(
    config: Annotated[Path, typer.Option(help="Recipe, like configs/train/simclr-digits.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the result is in DIR/product.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the pictures, in the layout that the recipe names, or of films."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: clustering.clusters=12. Repeatable."),
    ] = None,
) -> None:
    """Learn which pictures or clips are alike, without labels.

    Pictures: pretext → bank → clustering → self-labels → product. SimCLR learns an embedding, a memory bank finds each
    picture's neighbours, and SCAN clusters the pictures. Labels, such as the names of subfolders, are used for figures
    alone. Clips of films (a recipe with kind: clips): views → head → product, for likeness of alerts.

    Stages that are up to date are not run again, and a killed run continues. Learning curves: tensorboard --logdir DIR.
    """
    if _is_of_clips(config):
        _clips(config, out, data, seed, changes or ())
        return
    from models.alike.job import train_simclr
    from models.alike.pictures.reading import read_pictures
    from models.alike.recipe import AlikeRecipe
    from models.alike.stages.product import PAGE_FILE, PICTURE_FILE
    from models.jobs.recipes import read_recipe
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing
    from pipeline.printable import printable

    recipe = read_recipe(AlikeRecipe, config, changes or ())
    pictures = read_pictures(recipe.data, data)
    with progress_bars() as show, writing(out):
        outcome = train_simclr(
            pictures, recipe, out, seed=seed, report=lambda line: typer.echo(printable(line), err=True), progress=show
        )
    for line in _lines(outcome.card):
        typer.echo(printable(line))
    typer.echo(
        printable(f"{outcome.product / PICTURE_FILE}: the surest pictures of each cluster; {PAGE_FILE}: the page")
    )


def _is_of_clips(config: Path) -> bool:
    """Return whether a recipe is one for clips; a file that cannot be read is refused later."""
    import yaml

    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(values, dict) and values.get("kind") == "clips"


def _clips(config: Path, out: Path, data: Path | None, seed: int, changes: Sequence[str]) -> None:
    from models.alike.clips.films import read_films
    from models.alike.clips.job import train_on_clips
    from models.alike.clips.recipe import ClipRecipe
    from models.jobs.recipes import read_recipe
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing
    from pipeline.printable import printable

    recipe = read_recipe(ClipRecipe, config, changes)
    films = read_films(recipe.films, data)
    with progress_bars() as show, writing(out):
        outcome = train_on_clips(
            films, recipe, out, seed=seed, report=lambda line: typer.echo(printable(line), err=True), progress=show
        )
    if (card := outcome.card) is None:
        typer.echo(printable(f"{outcome.product}: a backbone from scratch, which cannot be served"))
        return
    learned = f"{card.training['stretches']} stretches of {card.training['films']} films"
    typer.echo(printable(f"{card.name}: {card.widths[-1]} values a clip, learned from {learned}"))
    serve = f"mistwatch export --model {outcome.product} --as alike --out REPOSITORY"
    typer.echo(printable(f"alike from a similarity of {card.similarity:g} on; serve it: {serve}"))


def _lines(card: AlikeCard) -> list[str]:
    """Return the result in words."""
    data, figures = card.training["data"], card.figures
    lines = [f"{card.clusters} clusters, learned from {data['learned']} pictures of {data['name']}"]
    if not figures:
        return [*lines, "no figures: the pictures have no labels, or all have the same one"]
    lines.append(
        f"{data['judged']} other pictures: class by neighbours right for {figures['neighbours']['knn_accuracy']:.3f}"
    )
    for name, part in (("clustering", "clustering"), ("self-labelling", "self_labels")):
        found = figures[part]
        lines.append(
            f"after {name}: clustering accuracy {found['accuracy']:.3f}, NMI {found['nmi']:.3f}, ARI {found['ari']:.3f}"
        )
    return lines
