"""``mistwatch outbox``: events of a stopped worker that no sink has, and those that a sink refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import UsageError
from pipeline.printable import printable

app = typer.Typer(help="Inspect the outbox of a stopped worker.", no_args_is_help=True)

_StateDir = Annotated[
    Path, typer.Option("--state-dir", help="The worker's state folder.", exists=True, file_okay=False)
]
_Ids = Annotated[list[str] | None, typer.Argument(help="Ids of events that are set aside.", show_default=False)]
_All = Annotated[bool, typer.Option("--all", help="All events that are set aside.")]


@app.command("list")
def list_(state_dir: _StateDir) -> None:
    """List how much waits for each sink, and the events that are set aside with the reasons."""
    from pipeline.alerts.outbox_contents import OutboxContents

    with OutboxContents(_file(state_dir)) as contents:
        waiting, refused = contents.waiting(), contents.set_aside()
    if not waiting:
        typer.echo("The outbox is empty: every sink has every event.")
    for each in waiting:
        typer.echo(f"{each.sink}: {each.events} event(s) wait, {each.bytes / 1e6:.1f} MB")
    for one in refused:
        known = " (the dead-letter topic names it)" if one.reported else ""
        typer.echo(printable(f"{one.sink}: set aside {one.id}: {one.reason}{known}"))


@app.command()
def retry(state_dir: _StateDir, ids: _Ids = None, every: _All = False) -> None:
    """Let the next run send events again that are set aside; they arrive after later events of their camera."""
    from pipeline.alerts.outbox_contents import OutboxContents

    with OutboxContents(_file(state_dir)) as contents:
        count = contents.retry(_chosen(ids, every=every))
    typer.echo(f"{count} event(s) wait again; the next run sends them.")


@app.command()
def drop(state_dir: _StateDir, ids: _Ids = None, every: _All = False) -> None:
    """Delete events that are set aside. They cannot be restored."""
    from pipeline.alerts.outbox_contents import OutboxContents

    with OutboxContents(_file(state_dir)) as contents:
        count = contents.drop(_chosen(ids, every=every))
    typer.echo(f"{count} event(s) are deleted.")


def _file(state_dir: Path) -> Path:
    return state_dir / "outbox.sqlite"


def _chosen(ids: list[str] | None, *, every: bool) -> list[str] | None:
    """Return the ids; None for all. Raises UsageError: neither or both are given."""
    if every == bool(ids):
        raise UsageError("name the ids of events that are set aside, or give --all; `mistwatch outbox list` lists them")
    return None if every else ids
