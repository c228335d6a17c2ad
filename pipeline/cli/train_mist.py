"""``mistwatch train mist``: from videos with labels to a detector that can be served."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.features import ENGINES
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
    from models.detectors.mist.job import Outcome
    from pipeline.manifests.manifest import Video


class Stage(StrEnum):
    """As models.detectors.mist.job.STAGES, which is not imported before the command runs."""

    FEATURES = "features"
    GENERATOR = "generator"
    PSEUDO_LABELS = "pseudo-labels"
    ENCODER = "encoder"
    FOLDS = "folds"
    PRODUCT = "product"
    REPOSITORY = "repository"


def mist(
    config: Annotated[Path, typer.Option(help="Recipe, like configs/train/fights-i3d.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|MANIFEST", help="Data set in the layout that the recipe names, or a manifest of any videos."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/NAME")] = None,
    stage: Annotated[Stage | None, typer.Option(help="Run this stage alone.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: encoder.epochs=3.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out videos that cannot be used.")] = False,
    engine: Annotated[
        str | None, typer.Option(help="Engine of the backbone: cuda, openvino, cpu.", show_default="the fastest")
    ] = None,
    export: Annotated[bool, typer.Option(help="Write a Triton model repository at the end.")] = True,
) -> None:
    """Train a recipe of MIST: features → generator → pseudo labels → encoder → product → model repository.

    A recipe without an encoder trains the generator alone. Stages that are up to date are not run again, and a killed
    run continues. Under torchrun all processes train the encoder together.
    """
    from models.detectors.mist.config import read_mist_config
    from pipeline.files import writing

    if engine is not None and engine not in ENGINES:
        raise UsageError(f"--engine {engine}: expected {', '.join(ENGINES)}")
    left_out: list[str] = []
    recipe = read_mist_config(config, changes or ())
    if recipe.encoder is not None:
        from models.detectors.mist.encoder_training import check_clips

        check_clips(recipe.clip.spec, recipe.encoder)
    videos, layout = _videos(recipe, config, data, left_out if skip_bad else None)
    # A published layout may divide groups; a manifest of other videos may not.
    recipe = recipe.model_copy(update={"videos": recipe.videos.model_copy(update={"layout": layout})})

    # After the checks: torch takes seconds to import.
    from models.detectors.mist.footage import Footage
    from models.detectors.mist.job import train_mist
    from models.jobs.memory import keep_freed_memory

    keep_freed_memory()
    out = out or Path("runs") / recipe.name
    with progress_bars() as show, writing(out):
        outcome = train_mist(
            videos,
            recipe,
            out,
            seed=seed,
            only=stage.value if stage is not None else None,
            skip_bad=skip_bad,
            export=_export if export else None,
            footage=Footage(recipe, engine=engine),
            report=lambda line: typer.echo(line, err=True),
            progress=show,
        )
    report(outcome, out / "product", left_out)


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each part of the work, on a terminal only; yields what is called after every step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    shown = _is_first() and console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not shown) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield show


def report(outcome: Outcome, model: Path, left_out: Sequence[str] = ()) -> None:
    """Print the result of a job: videos that were left out or are damaged, and the main figures.

    Args:
        left_out: further videos that were left out, with the reason.
    """
    if not _is_first():
        return
    skipped = (*left_out, *outcome.skipped)
    for line in skipped:
        typer.echo(f"left out: {line}", err=True)
    if skipped:
        typer.echo(f"{len(skipped)} videos left out", err=True)
    for line in outcome.damaged:
        typer.echo(f"damaged, used as far as it goes: {line}", err=True)
    if outcome.damaged:
        typer.echo(f"{len(outcome.damaged)} videos damaged", err=True)
    if outcome.card is not None:
        for part, found in outcome.card.figures.items():
            typer.echo(_figures_line(part, found))
        typer.echo(f"{model}: the model; see its model-card.json")


def _figures_line(part: str, found: dict[str, Any]) -> str:
    words = []
    for stage in ("stage_1", "stage_2"):
        for name in ("frame_auc", "video_auc"):
            figure = found.get(stage, {}).get(name, {})
            if figure.get("value") is not None:
                low, high = figure["interval_95"]
                words.append(f"{stage} {name} {figure['value']:.3f} ({low:.3f} to {high:.3f})")
    chosen = ", which chose stage 2's epoch" if found.get("chosen_by") else ""
    return f"{part.replace('_', ' ')}, {found['videos']} videos{chosen}: {', '.join(words)}"


def _is_first() -> bool:
    """Return whether this is the process of ``torchrun`` that prints."""
    return os.environ.get("RANK", "0") == "0"


def _videos(recipe: MistConfig, config: Path, data: Path | None, skipped: list[str] | None) -> tuple[list[Video], str]:
    """Return the videos, from the place that the command or the recipe names, and the layout of that place."""
    from pipeline.manifests.layouts import read_layout
    from pipeline.manifests.manifest import read_manifest
    from pipeline.printable import printable

    choice = recipe.videos
    folder = data or choice.folder
    if folder is None:
        raise UsageError(f"{config} does not say where its videos are: name their folder or a manifest with --data")
    if folder.is_file():
        return read_manifest(folder, skipped=skipped), "manifest"
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder" + (f"; {choice.obtain}" if choice.obtain else ""))
    notes: list[str] = []
    videos = read_layout(choice.layout, folder, skipped=skipped, notes=notes)
    for line in notes if _is_first() else ():
        typer.echo(printable(line), err=True)
    return videos, choice.layout


def _export(product: Path, repository: Path) -> None:
    from models.serving.export import export

    export(str(product), repository)
