"""``mistwatch train teacher``: from films to the teachers of student–teacher detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def teacher(
    config: Annotated[Path, typer.Option(help="Recipe, like configs/train/teacher-slim.yaml.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run; the teachers are in DIR/product.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe: steps=300. Repeatable."),
    ] = None,
) -> None:
    """Train the teachers of student–teacher detectors, once for all cameras: crops → vectors → training → product.

    They learn to describe patches as a published network does, and need no labels. Stages that are up to date are not
    run again, and a killed run continues.
    """
    from models.detectors.student_teacher.teacher_job import train_teacher
    from models.detectors.student_teacher.teacher_recipe import TeacherRecipe
    from models.jobs.recipes import read_recipe
    from pipeline.cli.train_mist import progress_bars
    from pipeline.files import writing
    from pipeline.printable import printable

    recipe = read_recipe(TeacherRecipe, config, changes or ())
    with progress_bars() as show, writing(out):
        product, card = train_teacher(
            recipe, out, seed=seed, report=lambda line: typer.echo(printable(line), err=True), progress=show
        )
    fields = ", ".join(str(patch) for patch in card.patches)
    typer.echo(printable(f"{product}: teachers of {fields} pixels, loss {card.figures['loss']:g}"))
