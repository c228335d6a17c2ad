"""``mistwatch export``: a Triton model repository from trained weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.versions import Triton


class Engine(StrEnum):
    """The values of models.serving.contract.EngineChoice, which is not imported before the command runs."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Model repository; created when missing.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Built-in model, or the folder of a trained model.")
    ] = "fights",
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Name of the served model.", show_default="clip_scorer")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Engine to serve it on; auto uses torch where CUDA is available, else OpenVINO.")
    ] = Engine.AUTO,
    max_batch: Annotated[
        int | None, typer.Option(min=1, max=256, help="Largest batch of Triton.", show_default="2; 16 with CUDA")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the model's existing versions, whatever clips they take.")
    ] = False,
    triton: Triton = None,
) -> None:
    """Write a model repository for Triton, or add a served model or its next version to one.

    A repository can hold several served models, each under its own name (--as). Running workers switch to a new version
    without losing a clip; `mistwatch versions rollback` goes back.
    """
    from models.serving.contract import EngineChoice
    from models.serving.export import SERVED_NAME
    from models.serving.export import export as write
    from models.serving.versions import history
    from pipeline.cli.repository import let_load, report

    name = name or SERVED_NAME
    choice = EngineChoice(engine.value)
    written = write(model, out, name=name, engine=choice, max_batch=max_batch, replace=replace, progress=report)
    *earlier, number = history(written)
    size = sum(file.stat().st_size for file in (written / str(number)).rglob("*") if file.is_file())
    chosen = "" if name == SERVED_NAME else f" --model {name}"
    written_line = f"{written}: version {number}, {size / 1e6:.0f} MB"
    if triton is not None:
        typer.echo(written_line)
        let_load(written, triton, earlier)
    elif earlier:
        command = f"mistwatch versions use {out} {number}{chosen} --triton HOST:PORT"
        typer.echo(f"{written_line}; a running Triton serves it after its next start, or at once with: {command}")
    else:
        typer.echo(f"{written_line}; serve it with: mistwatch serve --repository {out}")
