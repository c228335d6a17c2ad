"""``mistwatch train autoencoder``: the autoencoder of handwritten digits, and the most unusual ones by its error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def autoencoder(
    config: Annotated[Path, typer.Option(help="Recipe, like configs/train/digits-autoencoder.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the result is in DIR/product.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe: epochs=20. Repeatable."),
    ] = None,
) -> None:
    """Train an autoencoder on scikit-learn's handwritten digits, and list and draw the most unusual ones.

    It is a worked example: the digits with the largest reconstruction error. Stages that are up to date are not run
    again, and a killed run continues. The autoencoder of a camera: mistwatch learn --detector autoencoder.
    """
    from models.detectors.autoencoder.digits_job import PAGE_FILE, PICTURE_FILE, train_digits
    from models.detectors.autoencoder.digits_recipe import DigitsRecipe
    from models.jobs.recipes import read_recipe
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing
    from pipeline.printable import printable

    recipe = read_recipe(DigitsRecipe, config, changes or ())
    with progress_bars() as show, writing(out):
        trained = train_digits(
            recipe, out, seed=seed, report=lambda line: typer.echo(printable(line), err=True), progress=show
        )
    typer.echo(f"{'rank':>4}  {'index':>5}  {'label':>5}  {'error':>6}")
    for one in trained.unusual:
        typer.echo(f"{one['rank']:>4}  {one['index']:>5}  {one['label']:>5}  {one['error']:6.4f}")
    typer.echo(printable(f"{trained.product / PICTURE_FILE}: the same as a picture; {PAGE_FILE} has both"))
