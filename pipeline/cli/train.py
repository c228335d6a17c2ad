"""``mistwatch train``: train detectors on the videos of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import train_autoencoder, train_classifier, train_mist, train_places, train_simclr, train_teacher

app = typer.Typer(help="Train detectors.", no_args_is_help=True)


app.command("mist")(train_mist.mist)
app.command("classifier")(train_classifier.classifier)
app.command("teacher")(train_teacher.teacher)
app.command("autoencoder")(train_autoencoder.autoencoder)
app.command("simclr")(train_simclr.simclr)
app.command("places")(train_places.places)


@app.callback()
def _group() -> None:
    """Train detectors."""


@app.command()
def generator(
    manifest: Annotated[Path, typer.Argument(help="JSON lines: path, label (0 or 1), group, split; see the README.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and the model card.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Recipe without an encoder, like configs/train/fights.yaml.", show_default="built in"),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds by group for the figures and the thresholds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Train the generator of MIST alone, and write only its weights and its model card.

    "mistwatch train mist" with the same recipe runs the same training, and keeps its stages. Videos whose split is
    "test" are held out. Features are computed once and kept in the cache, so a run after an interruption continues
    there, and the next run takes seconds.
    """
    from models.detectors.mist.config import read_mist_config
    from models.detectors.mist.job import train_generator_into
    from models.jobs.errors import ConfigError
    from pipeline.files import writing
    from pipeline.manifests.manifest import read_manifest

    # The manifest says what is held out, whatever the recipe.
    recipe = read_mist_config(config, [f"folds={folds}", "videos={}"])
    if recipe.encoder is not None:
        raise ConfigError(f"{config}: encoder: expected a recipe without it; use `mistwatch train mist`")
    videos = read_manifest(manifest)
    with train_mist.progress_bars() as show, writing(out):
        outcome = train_generator_into(out, videos, recipe, seed=seed, progress=show)
    train_mist.report(outcome, out)
