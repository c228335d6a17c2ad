"""``mistwatch train mist``: both stages of MIST, from videos with labels to a model that can be served."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure
from pipeline.cli.features import ENGINES

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
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
    config: Annotated[Path, typer.Option(help="The recipe, like configs/train/fights-i3d.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|MANIFEST", help="The data set, laid out as the recipe says, or a manifest of any videos."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/NAME")] = None,
    stage: Annotated[Stage | None, typer.Option(help="Run this stage alone.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: encoder.epochs=3.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out videos that cannot be used.")] = False,
    engine: Annotated[
        str | None, typer.Option(help="What the backbone runs on: cuda, openvino, cpu.", show_default="the fastest")
    ] = None,
    export: Annotated[bool, typer.Option(help="Write a Triton model repository at the end.")] = True,
) -> None:
    """Train both stages: features → generator → pseudo labels → encoder → product → model repository.

    What has not changed since the last call is not done again, and a run that was killed goes on. Under torchrun the
    encoder is trained by all its processes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from models.backbones.weights import WeightsError
    from models.card import CardError
    from models.data.video_store import FeaturesError
    from models.detectors.mist.config import read_mist_config
    from models.detectors.mist.encoder_training import check_clips
    from models.detectors.mist.footage import Footage
    from models.detectors.mist.generator_job import ConfigError
    from models.detectors.mist.generator_training import TrainingError
    from models.detectors.mist.job import train_mist
    from models.engines.torch import EngineError
    from models.jobs.memory import keep_freed_memory
    from models.jobs.stages import StageError
    from models.serving.export import ExportError
    from models.tensors import TensorsError
    from pipeline.manifests.manifest import ManifestError
    from pipeline.sources.base import SourceError

    if engine is not None and engine not in ENGINES:
        raise UsageFailure(f"--engine {engine}: expected {', '.join(ENGINES)}")
    left_out: list[str] = []
    try:
        recipe = read_mist_config(config, changes or ())
        check_clips(recipe.clip.spec, recipe.encoder)
        videos, layout = _videos(recipe, config, data, left_out if skip_bad else None)
    except (ConfigError, ManifestError, TrainingError) as error:
        raise UsageFailure(str(error)) from error
    # What is allowed to a published layout is not to a manifest of whatever videos.
    recipe = recipe.model_copy(update={"videos": recipe.videos.model_copy(update={"layout": layout})})
    keep_freed_memory()
    out = out or Path("runs") / recipe.name
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes: the one that talks
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not (first and console.is_terminal)
    ) as bars:
        tasks: dict[str, object] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)  # type: ignore[arg-type]

        try:
            outcome = train_mist(
                videos,
                recipe,
                out,
                seed=seed,
                only=stage.value if stage is not None else None,
                skip_bad=skip_bad,
                export=_export if export else None,
                footage=Footage(recipe, engine=engine),
                tell=lambda line: typer.echo(line, err=True),
                progress=show,
            )
        except (TrainingError, StageError, ManifestError) as error:
            raise UsageFailure(str(error)) from error
        except EngineError as error:  # no video is to blame
            raise RunFailure(str(error)) from error
        except FeaturesError as error:
            raise RunFailure(f"{error}\nleave such videos out with --skip-bad") from error
        except (WeightsError, SourceError, ExportError, TensorsError, CardError) as error:
            raise RunFailure(str(error)) from error
        except OSError as error:
            raise RunFailure(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    if not first:
        return
    for line in (*left_out, *outcome.skipped):
        typer.echo(f"left out: {line}", err=True)
    if left_out or outcome.skipped:
        typer.echo(f"{len(left_out) + len(outcome.skipped)} videos left out", err=True)
    for line in outcome.damaged:
        typer.echo(f"damaged, used as far as it goes: {line}", err=True)
    if outcome.damaged:
        typer.echo(f"{len(outcome.damaged)} videos damaged", err=True)
    if outcome.card is not None:
        _report(out, outcome.card.figures)


def _videos(recipe: MistConfig, config: Path, data: Path | None, skipped: list[str] | None) -> tuple[list[Video], str]:
    """The videos where the command or the recipe says, and the layout that they were found in."""
    from pipeline.manifests.layouts import read_layout
    from pipeline.manifests.manifest import read_manifest

    choice = recipe.videos
    folder = data or choice.folder
    if folder is None:
        raise UsageFailure(f"{config} does not say where its videos are: name their folder or a manifest with --data")
    if folder.is_file():
        return read_manifest(folder, skipped=skipped), "manifest"
    if not folder.is_dir():
        raise UsageFailure(f"{folder}: no such folder" + (f"; {choice.obtain}" if choice.obtain else ""))
    return read_layout(choice.layout, folder, skipped=skipped), choice.layout


def _export(product: Path, repository: Path) -> None:
    from models.serving.export import export

    export(str(product), repository)


def _report(out: Path, figures: dict[str, object]) -> None:
    """The main figures, a line a part."""
    for part, found in figures.items():
        assert isinstance(found, dict)
        words = []
        for stage in ("stage_1", "stage_2"):
            for name in ("frame_auc", "video_auc"):
                figure = found[stage].get(name, {})
                if figure.get("value") is not None:
                    low, high = figure["interval_95"]
                    words.append(f"{stage} {name} {figure['value']:.3f} ({low:.3f} to {high:.3f})")
        chosen = ", which chose stage 2's epoch" if found.get("chosen_by") else ""
        typer.echo(f"{part.replace('_', ' ')}, {found['videos']} videos{chosen}: {', '.join(words)}")
    typer.echo(f"{out / 'product'}: the model; see its model-card.json")
