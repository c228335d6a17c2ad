"""``mistwatch export``: a Triton model repository from trained weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.versions import Triton
from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from models.serving.precision_wish import PrecisionWish


class Engine(StrEnum):
    """The values of models.serving.contract.EngineChoice, which is not imported before the command runs."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"


class Precision(StrEnum):
    """The values of models.engines.precision.Precision, which is not imported before the command runs."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"
    FP16 = "fp16"


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Model repository; created when missing.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Built-in model, or the folder of a trained model.")
    ] = "fights",
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Name of the served model.", show_default="clip_scorer")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="NAME",
            help="Put a detector of one camera into the served model NAME, as the part of its camera.",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Engine to serve it on; auto uses torch where CUDA is available, else OpenVINO.")
    ] = Engine.AUTO,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Numbers to compute with on a CPU; auto takes the fastest that the accuracy gate accepts there."
        ),
    ] = Precision.AUTO,
    validate: Annotated[
        Path | None,
        typer.Option(
            "--validate",
            metavar="MANIFEST",
            help="Labelled videos that the model was not trained on, for int8 and for the accuracy gate.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write a precision that the accuracy gate refuses; the card says so.")
    ] = False,
    max_batch: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Largest batch of Triton.", show_default="2; 16 with CUDA; 8 with --into"),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Remove the model's, or part's, existing versions, whatever clips they take."),
    ] = False,
    share_backbone: Annotated[
        bool,
        typer.Option(
            "--share-backbone",
            help="Serve the backbone once, for all detectors of DIR on it that take clips of the same size.",
        ),
    ] = False,
    triton: Triton = None,
) -> None:
    """Write a model repository for Triton, or add a served model or its next version to one.

    A repository can hold several served models, each under its own name (--as). Running workers switch to a new version
    without losing a clip; `mistwatch versions rollback` goes back.

    An embedding model, from which alerts get their likeness, is served as `alike` unless --as names it; a model of
    places, as `places`.

    With --validate, half of the videos' groups give int8 its ranges, and the other half judges: an export that loses
    more than 0.5 points of AUC, or moves a smoothed score by more than half of the room between the model's thresholds,
    is refused. Without it, the figures in the model's card count.

    With --into, the served model NAME hosts the parts of many cameras. A part that is added or exchanged scores from
    the next clip on, and no other part is touched.
    """
    from models.serving.contract import EngineChoice
    from models.serving.export import SERVED_NAME
    from models.serving.export import export as write
    from pipeline.cli.repository import report
    from pipeline.cli.side_models import find_side_model

    asks_precision = precision is not Precision.AUTO or validate is not None or force
    if (side := find_side_model(model)) is not None:
        if into is not None or engine is not Engine.AUTO or max_batch is not None or share_backbone:
            raise UsageError(
                f"--into, --engine, --max-batch, --share-backbone: leave them out; {model} is {side.words}, which has "
                "no parts and one engine"
            )
        if asks_precision:
            raise UsageError(
                f"--precision, --validate, --force: leave them out; {model} is {side.words}, which computes in fp32"
            )
        written = side.export(side.folder, out, name=name or side.served_name, replace=replace)
        _report_written(written, out, triton)
        return
    if into is not None:
        if name is not None or engine is not Engine.AUTO or share_backbone:
            raise UsageError(
                "--into: leave out --as, --engine and --share-backbone; a part is served as its hosting model is"
            )
        if asks_precision:
            raise UsageError("--into: leave out --precision, --validate and --force; parts compute in fp32")
        _export_part(model, out, into, max_batch=max_batch, replace=replace, triton=triton)
        return
    name = name or SERVED_NAME
    choice = EngineChoice(engine.value)
    written = write(
        model,
        out,
        name=name,
        engine=choice,
        max_batch=max_batch,
        replace=replace,
        precision=_wish(precision, validate, force),
        share_backbone=share_backbone,
        progress=report,
    )
    _report_written(written, out, triton)


def _wish(precision: Precision, validate: Path | None, force: bool) -> PrecisionWish:
    from models.engines.precision import Precision as Choice
    from models.serving.precision_wish import PrecisionWish
    from pipeline.manifests.manifest import read_manifest

    if validate is not None and precision in (Precision.FP32, Precision.FP16):
        raise UsageError(f"--validate: judges bf16 and int8 (got --precision {precision}); leave it out")
    if force and precision is Precision.FP32:
        raise UsageError("--force: the accuracy gate refuses bf16 and int8 alone (got --precision fp32); leave it out")
    videos = () if validate is None else tuple(read_manifest(validate))
    name = "" if validate is None else validate.stem if validate.stem != "manifest" else validate.resolve().parent.name
    return PrecisionWish(Choice(precision.value), videos, name, force)


def _report_written(written: Path, out: Path, triton: str | None) -> None:
    """Print that a served model was written, and have a Triton load it where one is named."""
    from models.serving.export import SERVED_NAME
    from models.serving.versions import history
    from pipeline.cli.repository import let_load

    *earlier, number = history(written)
    size = _size(written / str(number))
    chosen = "" if written.name == SERVED_NAME else f" --model {written.name}"
    written_line = f"{written}: version {number}, {size / 1e6:.0f} MB"
    if triton is not None:
        typer.echo(written_line)
        let_load(written, triton, earlier)
    elif earlier:
        command = f"mistwatch versions use {out} {number}{chosen} --triton HOST:PORT"
        typer.echo(f"{written_line}; a running Triton serves it after its next start, or at once with: {command}")
    else:
        typer.echo(f"{written_line}; serve it with: mistwatch serve --repository {out}")


def _export_part(model: str, out: Path, into: str, *, max_batch: int | None, replace: bool, triton: str | None) -> None:
    from models.serving.part_export import export_part
    from models.serving.versions import history, parts, served
    from pipeline.cli.repository import let_load, let_score, report

    host = out / into
    is_new = not host.exists()
    use = ""

    def on_renewed(host: Path, earlier: list[int]) -> None:
        nonlocal use
        number = served(host)
        what = f"has the code of this mistwatch, for the parts of all cameras ({', '.join(parts(host))})"
        typer.echo(printable(f"{host}: version {number} {what}"))
        if triton is not None:
            let_load(host, triton, earlier)
        use = f"mistwatch versions use {out} {number} --model {into} --triton HOST:PORT"

    part = export_part(
        model, out, into=into, max_batch=max_batch, replace=replace, progress=report, on_renewed=on_renewed
    )
    *earlier, number = history(part)
    written = f"{part}: version {number}, {_size(part / str(number)) / 1e6:.1f} MB"
    if triton is not None:
        typer.echo(written)
        let_score(host, part.name, triton, earlier)
    elif is_new:
        typer.echo(f"{written}; serve it with: mistwatch serve --repository {out}")
    elif use:
        typer.echo(f"{written}; at a running Triton it is used from the next start on, or after: {use}")
    else:
        typer.echo(f"{written}; a Triton that serves {into} scores with it from now on")


def _size(folder: Path) -> int:
    """Return the size of the files in a folder, bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
