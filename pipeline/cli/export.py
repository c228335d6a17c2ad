"""``mistwatch export``: a Triton model repository from trained weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure


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
) -> None:
    """Write a model repository for Triton. A model of the same name in it is replaced."""
    from models.serving.engine import EngineChoice
    from models.serving.export import ExportError, UnknownModelError
    from models.serving.export import export as write
    from pipeline.cli.repository import tell

    try:
        written = write(model, out, engine=EngineChoice(engine.value), max_batch=max_batch, progress=tell)
    except UnknownModelError as error:
        raise UsageFailure(str(error)) from error
    except ExportError as error:
        raise RunFailure(str(error)) from error
    size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
    typer.echo(f"{written}: {size / 1e6:.0f} MB; serve it with: mistwatch serve --repository {out}")
