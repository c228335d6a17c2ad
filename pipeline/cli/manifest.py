"""``mistwatch manifest``: write down which videos a data set has, and what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure

app = typer.Typer(help="Write manifests of data sets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Write manifests of data sets."""


@app.command()
def fights(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the clips and their clips.json.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it; standard output when left out.")] = None,
    hold_out: Annotated[
        int, typer.Option(metavar="N", help="Mark one of N folds of films as split test; 0 marks none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds.")] = 0,
) -> None:
    """The Surveillance Camera Fight Dataset: a line a clip, grouped by the film that it was cut from."""
    from pipeline.manifests.fights import fights as read
    from pipeline.manifests.folds import hold_out_fold
    from pipeline.manifests.manifest import ManifestError, manifest_lines

    try:
        videos = read(folder)
        if hold_out:
            videos = hold_out_fold(videos, hold_out, seed)
    except ManifestError as error:
        raise UsageFailure(str(error)) from error
    except ValueError as error:
        raise UsageFailure(f"--hold-out {hold_out}: {error}") from error
    if out is None:
        typer.echo(manifest_lines(videos), nl=False)
        return
    try:
        out.write_text(manifest_lines(videos, out.parent), encoding="utf-8")
    except OSError as error:
        raise RunFailure(f"cannot write {out}: {error.strerror}") from error
    typer.echo(f"{out}: {len(videos)} videos, {sum(video.label for video in videos)} of them abnormal", err=True)
