"""``mistwatch train``: train models on the videos of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import train_mist
from pipeline.cli.errors import RunFailure, UsageFailure

app = typer.Typer(help="Train models.", no_args_is_help=True)


app.command("mist")(train_mist.mist)


@app.callback()
def _group() -> None:
    """Train models."""


@app.command()
def generator(
    manifest: Annotated[Path, typer.Argument(help="JSON lines: path, label (0 or 1), group, split; see the README.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and the model card.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML with the recipe and the card's texts, like configs/train/fights.yaml.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds by group for the figures and the thresholds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and the training.")] = 0,
) -> None:
    """Train the generator: features → sparse continuous sampling → ranking loss → weights and model card.

    Videos whose split is "test" are held out. Features are computed once and kept in the cache, so an interrupted run
    goes on where it was, and the next one is a matter of seconds.
    """
    from rich.console import Console
    from rich.progress import Progress

    from models.backbones.weights import WeightsError
    from models.data.video_store import FeaturesError
    from models.detectors.mist.generator_job import ConfigError, JobConfig, read_config, train_job
    from models.detectors.mist.generator_training import TrainingError
    from pipeline.manifests.manifest import ManifestError, read_manifest

    try:
        job = read_config(config) if config is not None else JobConfig()
        videos = read_manifest(manifest)
    except (ConfigError, ManifestError) as error:
        raise UsageFailure(str(error)) from error
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, object] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)  # type: ignore[arg-type]

        try:
            card, dataset = train_job(videos, job, out, folds=folds, seed=seed, progress=show)
        except TrainingError as error:
            raise UsageFailure(f"{manifest}: {error}") from error
        except (FeaturesError, WeightsError) as error:
            raise RunFailure(str(error)) from error
        except OSError as error:
            raise RunFailure(f"cannot write {out}: {error.strerror}") from error
    for video in dataset.skipped:
        typer.echo(f"skipped, shorter than one clip of {job.clip.frames} frames: {video.path}", err=True)
    for line in dataset.damaged.values():
        typer.echo(f"damaged, used as far as it goes: {line}", err=True)
    figures = card.figures["out_of_fold"]
    typer.echo(
        f"{out}: trained on {card.training['videos']} videos of {len(card.training['groups'])} groups"
        + (f", {len(dataset.skipped)} skipped" if dataset.skipped else "")
        + (f", {len(dataset.damaged)} damaged" if dataset.damaged else "")
    )
    typer.echo(
        f"out of fold ({folds} folds by group, {figures['seeds']} seeds): video AUC {figures['video_auc_mean']:.3f} "
        f"± {figures['video_auc_spread']:.3f}, linear probe {figures['linear_probe_video_auc']:.3f}"
    )
    if "held_out" in card.figures:
        held = card.figures["held_out"]
        typer.echo(f"held out ({held['videos']} videos): video AUC {held['video_auc']:.3f}")
    typer.echo(
        f"suggested: kernel {card.alerting.kernel}, open at {card.alerting.open_threshold}, close at "
        f"{card.alerting.close_threshold}; out of fold {figures['recall_at_open_threshold']:.0%} of the "
        f"abnormal videos and {figures['false_alarms_at_open_threshold']:.0%} of the normal ones reach it"
    )
