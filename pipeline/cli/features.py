"""``mistwatch features``: a backbone's features of every clip of a data set, as files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import MistwatchError, UsageError
from pipeline.files import writing

if TYPE_CHECKING:
    from models.data.feature_folder import FeatureSettings

ENGINES = ("cuda", "openvino", "cpu")
#: Seconds between progress lines where standard error is not a terminal.
_LINE_SECONDS = 30.0


def features(
    manifest: Annotated[Path, typer.Argument(help="Manifest (JSON lines): path, label, group, split; see the README.")],
    out: Annotated[Path, typer.Option(help="Folder for the features and their index.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Recipe (YAML) that sets clip, training_stride, backbone, layers, contrast and mirrored."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="Frames between clip starts; below the clip length, clips overlap."),
    ] = None,
    crops: Annotated[int, typer.Option(help="Crops of each clip: 1 (the whole picture) or 10.")] = 1,
    layers: Annotated[
        str | None, typer.Option(help="Layers of the backbone, separated by commas: mixed_4f, mixed_5b, mixed_5c.")
    ] = None,
    contrast: Annotated[
        str | None,
        typer.Option(help="Subtract the features of the standing scene: clip or background."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engine: cuda, openvino or cpu; by default the fastest available one.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out videos that cannot be read, and list them at the end.")
    ] = False,
) -> None:
    """Compute the features of a manifest's videos: one .npy file for each (clips × D; with ten crops clips × 10 × D).

    index.json beside them holds the weights, the settings and the times of the clips. Existing features are kept, so an
    interrupted run can be continued. Features of other settings need another folder.
    """
    from models.data.feature_folder import write_features
    from pipeline.manifests.manifest import read_manifest

    unusable: list[str] = []
    videos = read_manifest(manifest, skipped=unusable if skip_bad else None)
    settings = _settings(config, stride, crops, layers, contrast, engine)
    with _shown(len(videos)) as show, writing(out):
        result = write_features(videos, out, settings, skip_bad=skip_bad, progress=show)
    for line in result.damaged:
        typer.echo(line, err=True)
    for video in result.short:
        why = f"too short for a clip of {settings.clip.frames} frames, or with pauses that no clip may span"
        typer.echo(f"no features, {why}: {video}", err=True)
    skipped = unusable + result.skipped
    for line in skipped:
        typer.echo(f"skipped: {line}", err=True)
    if not result.kept + result.computed:
        raise MistwatchError(f"{manifest}: none of its {len(videos)} videos can be used")
    typer.echo(
        f"{out}: {result.clips} clips of {result.kept + result.computed} videos "
        f"({result.computed} computed, {result.kept} already present, {len(skipped)} skipped), "
        f"{'×'.join(map(str, ('clips', *settings.row)))}"
    )


def _settings(
    config: Path | None,
    stride: int | None,
    crops: int,
    layers: str | None,
    contrast: str | None,
    engine: str | None,
) -> FeatureSettings:
    """Return the settings of a recipe, changed by the options.

    Raises:
        UsageError: a setting is invalid; one line that names it.
    """
    from pydantic import BaseModel, Field, ValidationError
    from yaml import YAMLError, safe_load

    from models.backbones.layers import WIDTHS, Layers
    from models.data.contrast import Contrast
    from models.data.feature_folder import FeatureSettings
    from operators.background import SceneKind
    from pipeline.windows import ClipSpec, StoredClip

    class Recipe(BaseModel):
        """The part of any training's recipe that concerns features; the rest is ignored."""

        clip: StoredClip = StoredClip.from_spec(ClipSpec())
        training_stride: int | None = Field(None, ge=1)
        backbone: str = "i3d-kinetics400"
        layers: Layers = ("mixed_5c",)
        contrast: Contrast | None = None
        mirrored: bool = False

    try:
        recipe = Recipe.model_validate(safe_load(config.read_text(encoding="utf-8")) if config is not None else {})
    except FileNotFoundError:
        raise UsageError(f"{config}: no such file") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UsageError(f"{config}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{config}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
    chosen = tuple(layers.split(",")) if layers is not None else recipe.layers
    if not chosen or not set(chosen) <= set(WIDTHS):
        raise UsageError(f"--layers {layers}: expected {', '.join(WIDTHS)}; several with commas between")
    if contrast is not None and contrast not in list(SceneKind):
        raise UsageError(f"--contrast {contrast}: expected {', '.join(SceneKind)}")
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"--engine {engine}: expected {', '.join(ENGINES)}")
    clip = recipe.clip.spec
    return FeatureSettings.for_clip(
        replace(clip, stride=stride or recipe.training_stride or clip.stride),
        backbone=recipe.backbone,
        layers=chosen,
        contrast=Contrast(scene=SceneKind(contrast)) if contrast is not None else recipe.contrast,
        mirrored=recipe.mirrored,
        crops=crops,
        engine=engine,
    )


@contextmanager
def _shown(videos: int) -> Iterator[Callable[[float, float, int], None]]:
    """Show progress with the time left: a bar on a terminal, elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    started: tuple[float, float] | None = None  # when, and seconds of video that were there already
    printed = time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("features", total=None)

        def show(done: float, total: float, videos_done: int) -> None:
            nonlocal started, printed
            now = time.monotonic()
            if started is None:
                started = now, done
                bar.reset(task, completed=int(done), total=total)  # existing features would distort the speed
            bar.update(task, completed=done, total=total, description=f"features, {videos_done} of {videos} videos")
            if console.is_terminal or now < printed + _LINE_SECONDS:
                return
            printed = now
            speed = (done - started[1]) / max(now - started[0], 1e-6)
            left = f", {timedelta(seconds=round((total - done) / speed))} left" if speed else ""
            typer.echo(f"features: {videos_done} of {videos} videos, {done / total:.0%}{left}", err=True)

        yield show
