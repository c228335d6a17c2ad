"""``mistwatch export``: a Triton model repository from trained weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure
from pipeline.cli.versions import Triton


class Engine(StrEnum):
    """As models.serving.engine.EngineChoice, which is not imported before the command runs."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The model repository; made when missing.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="A model that comes with mistwatch, or a trained model's folder.")
    ] = "fights",
    engine: Annotated[
        Engine, typer.Option(help="What it is served on; auto takes CUDA where there is any, else OpenVINO.")
    ] = Engine.AUTO,
    max_batch: Annotated[
        int | None, typer.Option(min=1, max=256, help="Bound of Triton's batches.", show_default="2; 16 with CUDA")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the versions that are there, whatever clips they take.")
    ] = False,
    triton: Triton = None,
) -> None:
    """Write a model repository for Triton, or the model's next version into one.

    Workers that run go over to the new version without losing a clip; `mistwatch versions rollback` goes back.
    """
    from models.serving.engine import EngineChoice
    from models.serving.export import ExportError, UnknownModelError
    from models.serving.export import export as write
    from models.serving.versions import VersionError, history
    from pipeline.cli.repository import let_load, tell

    try:
        written = write(
            model, out, engine=EngineChoice(engine.value), max_batch=max_batch, replace=replace, progress=tell
        )
    except UnknownModelError as error:
        raise UsageFailure(str(error)) from error
    except (ExportError, VersionError) as error:
        raise RunFailure(str(error)) from error
    *earlier, number = history(written)
    size = sum(file.stat().st_size for file in (written / str(number)).rglob("*") if file.is_file())
    written_line = f"{written}: version {number}, {size / 1e6:.0f} MB"
    if triton is not None:
        typer.echo(written_line)
        let_load(written, triton, earlier)
    elif earlier:
        told = f"mistwatch versions use {out} {number} --triton HOST:PORT"
        typer.echo(f"{written_line}; a Triton that runs serves it after its next start, or at once by: {told}")
    else:
        typer.echo(f"{written_line}; serve it with: mistwatch serve --repository {out}")
