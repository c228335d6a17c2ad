"""``mistwatch features``: what the backbone says of every clip of a data set, as files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure

if TYPE_CHECKING:
    from models.data.feature_folder import FeatureSettings

ENGINES = ("cuda", "openvino", "cpu")
#: Where nobody looks at a bar, a line this often, seconds.
_LINE_SECONDS = 30.0


def features(
    manifest: Annotated[Path, typer.Argument(help="JSON lines: path, label (0 or 1), group, split; see the README.")],
    out: Annotated[Path, typer.Option(help="Folder for the features and their index.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML whose clip, training_stride, backbone, layers and mirrored are taken.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="A new clip every so many frames; fewer than a clip has make them overlap."),
    ] = None,
    crops: Annotated[int, typer.Option(help="Of each clip: 1, the whole picture, or 10.")] = 1,
    layers: Annotated[
        str | None, typer.Option(help="Of the backbone, with commas: mixed_5c, or mixed_4f,mixed_5c.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="cuda, openvino or cpu; the fastest there is if left out.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what cannot be read, list it at the end, and go on.")
    ] = False,
) -> None:
    """Compute features of the videos of a manifest: a .npy file a video (clips × D; with ten crops clips × 10 × D).

    index.json beside them says of which weights and settings they are, and when each clip was. What is there already
    is kept, so a run that was interrupted goes on; features of other settings need another folder.
    """
    from models.backbones.weights import UnknownWeightsError, WeightsError
    from models.data.feature_folder import OtherFeatures, write_features
    from models.data.video_store import FeaturesError
    from pipeline.manifests.manifest import ManifestError, read_manifest

    try:
        unusable: list[str] = []
        videos = read_manifest(manifest, skipped=unusable if skip_bad else None)
        settings = _settings(config, stride, crops, layers, engine)
    except (ManifestError, UnknownWeightsError, ValueError) as error:
        raise UsageFailure(str(error)) from error
    try:
        with _shown(len(videos)) as show:
            result = write_features(videos, out, settings, skip_bad=skip_bad, progress=show)
    except OtherFeatures as error:
        raise UsageFailure(str(error)) from error
    except (FeaturesError, WeightsError) as error:
        raise RunFailure(str(error)) from error
    except OSError as error:
        raise RunFailure(f"cannot write {out}: {error.strerror}") from error
    for line in result.damaged:
        typer.echo(line, err=True)
    for video in result.short:
        typer.echo(f"no features, shorter than one clip of {settings.clip.frames} frames: {video}", err=True)
    skipped = unusable + result.skipped
    for line in skipped:
        typer.echo(f"skipped: {line}", err=True)
    if not result.kept + result.computed:
        raise RunFailure(f"{manifest}: not one of its {len(videos)} videos can be used")
    typer.echo(
        f"{out}: {result.clips} clips of {result.kept + result.computed} videos "
        f"({result.computed} computed, {result.kept} there already, {len(skipped)} skipped), "
        f"{'×'.join(map(str, ('clips', *settings.row)))}"
    )


def _settings(
    config: Path | None, stride: int | None, crops: int, layers: str | None, engine: str | None
) -> FeatureSettings:
    """What a recipe says, changed by what the options say.

    Raises:
        ValueError: one that cannot be; a line that names it.
    """
    from pydantic import BaseModel, Field, ValidationError
    from yaml import YAMLError, safe_load

    from models.backbones.layers import WIDTHS, Layers
    from models.card import Clip
    from models.data.feature_folder import FeatureSettings
    from pipeline.windows import ClipSpec

    class Recipe(BaseModel):
        """Of any training; the rest of it is not looked at."""

        clip: Clip = Clip.of(ClipSpec())
        training_stride: int | None = Field(None, ge=1)
        backbone: str = "i3d-kinetics400"
        layers: Layers = ("mixed_5c",)
        mirrored: bool = False

    try:
        recipe = Recipe.model_validate(safe_load(config.read_text(encoding="utf-8")) if config is not None else {})
    except FileNotFoundError:
        raise ValueError(f"{config}: no such file") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ValueError(f"{config}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{config}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
    chosen = tuple(layers.split(",")) if layers is not None else recipe.layers
    if not chosen or not set(chosen) <= set(WIDTHS):
        raise ValueError(f"--layers {layers}: expected {' or '.join(WIDTHS)}, or both with a comma between")
    if engine is not None and engine not in ENGINES:
        raise ValueError(f"--engine {engine}: expected {', '.join(ENGINES)}")
    clip = recipe.clip.spec
    return FeatureSettings.for_clip(
        replace(clip, stride=stride or recipe.training_stride or clip.stride),
        backbone=recipe.backbone,
        layers=chosen,
        mirrored=recipe.mirrored,
        crops=crops,
        engine=engine,
    )


@contextmanager
def _shown(videos: int) -> Iterator[Callable[[float, float, int], None]]:
    """Progress with the time left: a bar on a terminal, elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    started: tuple[float, float] | None = None  # when, and seconds of video that were there already
    told = time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("features", total=None)

        def show(done: float, total: float, videos_done: int) -> None:
            nonlocal started, told
            now = time.monotonic()
            if started is None:
                started = now, done
                bar.reset(task, completed=int(done), total=total)  # what was there already says nothing of the speed
            bar.update(task, completed=done, total=total, description=f"features, {videos_done} of {videos} videos")
            if console.is_terminal or now < told + _LINE_SECONDS:
                return
            told = now
            speed = (done - started[1]) / max(now - started[0], 1e-6)
            left = f", {timedelta(seconds=round((total - done) / speed))} left" if speed else ""
            typer.echo(f"features: {videos_done} of {videos} videos, {done / total:.0%}{left}", err=True)

        yield show
